import { errorTable, StorageError } from '../base/errors.js'
import type { Clock, Timer } from '../ports/index.js'
import type { ControlMessage, WireError } from '../wire/control.js'

export type Send = (message: ControlMessage) => void

/**
 * What becomes of a request when its connection ends. `ends`: it fails with it. `repeats`: it is sent again to the next
 * master. `change`: it is sent again with the same number, by which the master knows that it is done already; one at a
 * time, because the MDM keeps the last number of each client only.
 */
export type Fate = 'ends' | 'repeats' | 'change'

interface Waiting {
  name: string
  params: unknown
  fate: Fate
  isSent: boolean
  /** It was sent before, on a connection that has ended: it may be done. */
  wasSent: boolean
  timer: Timer
  resolve(result: unknown): void
  reject(error: unknown): void
}

/** Requests that are not answered yet. Their numbers rise over all connections of this client. */
export class RequestTable {
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  /** Towards the master; null: there is none. */
  #send: Send | null = null

  /** `unreachable` makes the error for a request whose time ran out while there was no master. */
  constructor(
    readonly clock: Clock,
    readonly unreachable: () => StorageError,
  ) {}

  /** Notes a request. It leaves now by `send`, which then carries this one alone, or as soon as there is a master. */
  add(name: string, params: unknown, timeoutMs: number, fate: Fate, send: Send | null = this.#send): Promise<unknown> {
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const timer = this.clock.setTimer(timeoutMs, () => this.#timedOut(id, timeoutMs))
      const waiting = { name, params, fate, isSent: false, wasSent: false, timer, resolve, reject }
      this.#waiting.set(id, waiting)
      if (send !== null) this.#sendOne(id, waiting, send)
    })
  }

  /** There is a master: new requests go there at once. */
  open(send: Send): void {
    this.#send = send
  }

  /** The master knows who we are: what had to wait leaves. */
  sendAll(): void {
    for (const [id, waiting] of this.#waiting)
      if (!waiting.isSent && this.#send !== null) this.#sendOne(id, waiting, this.#send)
  }

  #sendOne(id: number, waiting: Waiting, send: Send): void {
    if (waiting.fate === 'change' && this.#firstChange() !== waiting) return
    waiting.isSent = true
    send({ kind: 'request', id, name: waiting.name, params: waiting.params })
  }

  #firstChange(): Waiting | undefined {
    for (const waiting of this.#waiting.values()) if (waiting.fate === 'change') return waiting
    return undefined
  }

  /**
   * Takes an answer; one that nobody waits for any more is dropped. Returns the error if it is that the other side is not
   * master, and the request stays for one that is.
   */
  answer(message: ControlMessage & { kind: 'answer' }): StorageError | null {
    const waiting = this.#waiting.get(message.id)
    if (!waiting?.isSent) return null
    const error = 'error' in message ? errorOfWire(message.error) : null
    if (error?.code === 'NOT_MASTER' && waiting.fate !== 'ends') return error
    this.#remove(message.id, waiting)
    if (error !== null) waiting.reject(error)
    else waiting.resolve((message as { result: unknown }).result)
    return null
  }

  /** The connection ended. */
  lost(error: StorageError): void {
    this.#send = null
    for (const [id, waiting] of this.#waiting) {
      if (!waiting.isSent) continue
      if (waiting.fate === 'ends') this.#fail(id, waiting, error)
      waiting.isSent = false
      waiting.wasSent = true
    }
  }

  failAll(error: unknown): void {
    this.#send = null
    for (const [id, waiting] of this.#waiting) this.#fail(id, waiting, error)
  }

  #timedOut(id: number, timeoutMs: number): void {
    const waiting = this.#waiting.get(id)!
    const { name, isSent, wasSent, fate } = waiting
    const mayBeDone =
      fate === 'change' && (isSent || wasSent) ? { remedy: 'it may be done: look before you repeat it' } : {}
    const cause = this.unreachable()
    const error = isSent
      ? new StorageError('TIMED_OUT', { request: name, afterMs: timeoutMs, ...mayBeDone })
      : new StorageError(cause.code, { ...cause.context, ...mayBeDone })
    this.#fail(id, waiting, error)
  }

  #fail(id: number, waiting: Waiting, error: unknown): void {
    this.#remove(id, waiting)
    waiting.reject(error)
  }

  #remove(id: number, waiting: Waiting): void {
    this.#waiting.delete(id)
    waiting.timer.cancel()
    const next = waiting.fate === 'change' ? this.#firstChange() : undefined
    if (next === undefined || next.isSent || this.#send === null) return
    for (const [id, waiting] of this.#waiting) if (waiting === next) this.#sendOne(id, next, this.#send)
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
