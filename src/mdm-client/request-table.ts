import { errorTable, StorageError } from '../base/errors.js'
import type { Clock, Timer } from '../ports/index.js'
import type { ControlMessage, WireError } from '../wire/control.js'

interface Waiting {
  name: string
  params: unknown
  sent: boolean
  timer: Timer
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** Requests that are not answered yet; those that are not sent yet leave with `sendAll`. */
export class RequestTable {
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1

  /** `unreachable` makes the error for a request whose time ran out before there was a connection. */
  constructor(
    readonly clock: Clock,
    readonly unreachable: () => StorageError,
  ) {}

  /** Notes a request; `send` sends it now, null keeps it for `sendAll`. */
  add(
    name: string,
    params: unknown,
    timeoutMs: number,
    send: ((message: ControlMessage) => void) | null,
  ): Promise<unknown> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const timer = this.clock.setTimer(timeoutMs, () => {
        const { sent } = this.#waiting.get(id)!
        this.#waiting.delete(id)
        reject(sent ? new StorageError('TIMED_OUT', { request: name, afterMs: timeoutMs }) : this.unreachable())
      })
      const waiting = { name, params, sent: send !== null, timer, resolve, reject }
      this.#waiting.set(id, waiting)
      send?.({ kind: 'request', id, name, params })
    })
  }

  sendAll(send: (message: ControlMessage) => void): void {
    for (const [id, waiting] of this.#waiting) {
      if (waiting.sent) continue
      waiting.sent = true
      send({ kind: 'request', id, name: waiting.name, params: waiting.params })
    }
  }

  /** Takes an answer; one that nobody waits for any more is dropped. */
  answer(message: ControlMessage & { kind: 'answer' }): void {
    const waiting = this.#waiting.get(message.id)
    if (!waiting?.sent) return
    this.#remove(message.id, waiting)
    if ('error' in message) waiting.reject(errorOfWire(message.error))
    else waiting.resolve(message.result)
  }

  /** The connection ended: what was sent on it may have been done or not. */
  failSent(error: StorageError): void {
    for (const [id, waiting] of this.#waiting) if (waiting.sent) this.#fail(id, waiting, error)
  }

  failAll(error: unknown): void {
    for (const [id, waiting] of this.#waiting) this.#fail(id, waiting, error)
  }

  #fail(id: number, waiting: Waiting, error: unknown): void {
    this.#remove(id, waiting)
    waiting.reject(error)
  }

  #remove(id: number, waiting: Waiting): void {
    this.#waiting.delete(id)
    waiting.timer.cancel()
  }
}

/** A `StorageError` that arrived; a code that a newer peer made up is INTERNAL. */
export function errorOfWire(error: WireError | null | undefined): StorageError {
  const code = error?.code !== undefined && Object.hasOwn(errorTable, error.code) ? error.code : 'INTERNAL'
  return new StorageError(code, error?.context ?? {})
}

export function errorToWire(error: unknown): WireError {
  if (error instanceof StorageError) return { code: error.code, context: error.context }
  return { code: 'INTERNAL', context: { detail: error instanceof Error ? error.message : String(error) } }
}
