import type { Connection } from '../../../src/ports/index.js'
import type { ControlMessage } from '../../../src/wire/control.js'

type Answer = Extract<ControlMessage, { kind: 'answer' }>

/** What was asked on a connection by hand, and waits for its answer. */
export class Asked {
  readonly #waiting = new Map<number, (answer: Answer) => void>()
  #nextId = 1

  /** Asks now; the promise settles with the answer. An error rejects as it came over the wire. */
  send(connection: Connection<ControlMessage>, name: string, params: unknown, id = this.#nextId++): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, answer => ('error' in answer ? reject(answer.error) : resolve(answer.result)))
      connection.send({ kind: 'request', id, name, params })
    })
  }

  take(answer: Answer): void {
    this.#waiting.get(answer.id)?.(answer)
    this.#waiting.delete(answer.id)
  }

  /** The connection has ended: nothing more is answered. */
  end(reason: string): void {
    const error = { code: 'CLOSED', context: { reason } } as never
    for (const [id, settle] of this.#waiting) settle({ kind: 'answer', id, error })
    this.#waiting.clear()
  }
}
