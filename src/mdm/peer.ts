import { errorTable, StorageError } from '../base/errors.js'
import type { MdmId, SdcId, SdsId } from '../base/ids.js'
import type { Endpoint } from '../model/index.js'
import type { Clock, Connection, Timer } from '../ports/index.js'
import type { ControlMessage, SdsAnswers, SdsRequests, WireError } from '../wire/control.js'

interface Asked {
  timer: Timer
  resolve(result: unknown): void
  reject(error: unknown): void
}

export type Role = 'sds' | 'sdc' | 'tool' | 'mdm'

/** One connection to the MDM, and what is known of who is at its other end. */
export class Peer {
  role: Role | null = null
  name = ''
  client: string | null = null
  closed = false
  /** It has said hello, maybe to be told NOT_MASTER. */
  hasSaidHello = false
  /** Runs until it is welcome. */
  helloTimer: Timer | null = null

  /** An SDS or SDC process: set when it registers. */
  guid = ''
  processId = ''
  sdsId: SdsId | null = null
  sdcId: SdcId | null = null
  /** Another MDM: who it says it is. */
  mdmId: MdmId | null = null
  /** Its registration is committed. */
  registered = false
  /** An SDS that is about to stop, or to enter maintenance: nothing more is given to it. */
  isLeaving = false
  /** Where an SDS listens. */
  endpoint: Endpoint | null = null
  /** When something last came from it. */
  heardAtMs = 0
  /** Devices that an SDS has open. */
  readonly devices = new Set<string>()

  /** Map pushes: null until it subscribes. */
  sentVersion: number | null = null
  ackedVersion = 0

  readonly #asked = new Map<number, Asked>()
  #nextId = 1

  constructor(
    readonly connection: Connection<ControlMessage>,
    readonly clock: Clock,
  ) {}

  /** Asks an SDS. */
  request<N extends keyof SdsRequests>(name: N, params: SdsRequests[N], timeoutMs: number): Promise<SdsAnswers[N]> {
    return this.ask(name, params, timeoutMs) as Promise<SdsAnswers[N]>
  }

  /** Asks whoever is at the other end. */
  ask(name: string, params: unknown, timeoutMs: number): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.closed) return reject(this.#gone())
      const id = this.#nextId++
      const timer = this.clock.setTimer(timeoutMs, () => {
        this.#asked.delete(id)
        reject(new StorageError('TIMED_OUT', { request: name, peer: this.name, afterMs: timeoutMs }))
      })
      this.#asked.set(id, { timer, resolve, reject })
      this.connection.send({ kind: 'request', id, name, params })
    })
  }

  /** Takes an answer to one of our requests; others are strays of requests that have timed out. */
  takeAnswer(message: Extract<ControlMessage, { kind: 'answer' }>): void {
    const asked = this.#asked.get(message.id)
    if (!asked) return
    this.#asked.delete(message.id)
    asked.timer.cancel()
    if ('error' in message) asked.reject(errorFromWire(message.error))
    else asked.resolve(message.result)
  }

  answer(id: number, result: unknown): void {
    this.connection.send({ kind: 'answer', id, result: result === undefined ? {} : result })
  }

  refuse(id: number, error: unknown): void {
    this.connection.send({ kind: 'answer', id, error: errorToWire(error) })
  }

  notice(name: string, params: unknown): void {
    this.connection.send({ kind: 'notice', name, params })
  }

  /** The connection is over: whoever waits for an answer hears it. May be called twice. */
  ended(): void {
    this.closed = true
    this.helloTimer?.cancel()
    for (const asked of this.#asked.values()) {
      asked.timer.cancel()
      asked.reject(this.#gone())
    }
    this.#asked.clear()
  }

  #gone(): StorageError {
    return new StorageError('UNREACHABLE', { detail: 'the other side is not connected', peer: this.name })
  }
}

export function errorToWire(error: unknown): WireError {
  if (error instanceof StorageError) return { code: error.code, context: error.context }
  return { code: 'INTERNAL', context: { detail: error instanceof Error ? error.message : String(error) } }
}

function errorFromWire(error: WireError | null | undefined): StorageError {
  const known = error && typeof error.code === 'string' && Object.hasOwn(errorTable, error.code)
  const context = error && typeof error.context === 'object' && error.context !== null ? error.context : {}
  return new StorageError(known ? error.code : 'INTERNAL', context)
}
