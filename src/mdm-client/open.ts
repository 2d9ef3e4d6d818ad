import { AssertionError } from '../base/assert.js'
import { StorageError } from '../base/errors.js'
import type { ClusterMap, Endpoint, MapDelta } from '../model/index.js'
import type { Connection, Timer } from '../ports/index.js'
import {
  type AnswerOf,
  type ControlMessage,
  controlVersion,
  type MdmNotices,
  type MdmRequestName,
  type MdmRequests,
  sdsRequests,
} from '../wire/control.js'
import type { MdmClient, MdmClientOptions } from './client.js'
import { checkDeltas, checkMapNotice, MapKeeper, type MapStep } from './map-keeper.js'
import { errorToWire, RequestTable } from './request-table.js'

const backoffMsMin = 100
const backoffMsMax = 2_000
/** An MDM that does not answer `hello` within this is passed over. */
const helloTimeoutMs = 5_000
const requestTimeoutMs = 60_000

export function openMdmClient(options: MdmClientOptions): MdmClient {
  return new Client(options)
}

type Phase = 'idle' | 'trying' | 'connected' | 'closed'

class Client implements MdmClient {
  readonly #keeper = new MapKeeper()
  readonly #requests: RequestTable
  #phase: Phase = 'idle'
  #systemId: string | null
  #connection: Connection<ControlMessage> | null = null
  #retryTimer: Timer | null = null
  /** Attempts since the last connection that worked. */
  #failures = 0
  /** What we knew when we asked: since then others may have handed over newer changes than the answer knows of. */
  #versionAtHello = 0
  #lastReason = 'not tried yet'
  /** What ended the client for good, if anything did. */
  #refusal: StorageError | null = null
  #subscriptionWanted = false
  /** The connection on which map notices come. */
  #subscribedOn: Connection<ControlMessage> | null = null
  #subscribing = false
  #subscribers: { resolve(): void; reject(error: unknown): void }[] = []

  constructor(readonly options: MdmClientOptions) {
    this.#systemId = options.systemId
    this.#requests = new RequestTable(options.clock, () => this.#unreachable())
  }

  get map(): ClusterMap {
    return this.#keeper.map
  }
  get connected(): boolean {
    return this.#phase === 'connected'
  }
  get systemId(): string | null {
    return this.#systemId
  }

  start(): void {
    if (this.#phase !== 'idle') return
    this.#phase = 'trying'
    this.#try()
  }

  request<N extends MdmRequestName>(
    name: N,
    params: MdmRequests[N],
    { timeoutMs = requestTimeoutMs }: { timeoutMs?: number } = {},
  ): Promise<AnswerOf<N>> {
    if (this.#phase === 'closed') return Promise.reject(this.#refusal ?? this.#unreachable())
    const send = this.connected ? this.#sendOn(this.#connection!) : null
    return this.#requests.add(name, params, timeoutMs, send) as Promise<AnswerOf<N>>
  }

  subscribe(): Promise<void> {
    this.#subscriptionWanted = true
    if (this.#phase === 'closed') return Promise.reject(this.#refusal ?? this.#unreachable())
    if (this.connected && this.#subscribedOn === this.#connection) return Promise.resolve()
    const subscribed = new Promise<void>((resolve, reject) => this.#subscribers.push({ resolve, reject }))
    if (this.connected) this.#askForMap(this.#connection!)
    return subscribed
  }

  offerDeltas(deltas: readonly MapDelta[]): boolean {
    checkDeltas(deltas)
    this.#stepped(this.#keeper.offer(deltas))
    return deltas.every(delta => delta.version <= this.map.version)
  }

  notice<N extends keyof MdmNotices>(name: N, params: MdmNotices[N]): void {
    if (this.connected) this.#connection!.send({ kind: 'notice', name, params })
  }

  async close(): Promise<void> {
    this.#end(null)
  }

  // --- Coming and staying connected.

  #try(): void {
    const { addresses, link } = this.options
    const address = addresses[this.#failures % addresses.length]!
    const connection = link.connectControl(address, {
      onMessage: message => {
        if (this.#connection === connection) this.#take(connection, message)
      },
      onClose: reason => {
        if (this.#connection === connection) this.#lost(reason)
      },
    })
    this.#connection = connection
    const { role, name } = this.options
    this.#versionAtHello = this.map.version
    const system = this.map.tables.systems.values().next().value
    const params = {
      version: controlVersion,
      role,
      systemId: this.#systemId,
      name,
      ...(system && { era: system.era ?? '' }),
    }
    const hello = this.#requests.add('hello', params, helloTimeoutMs, this.#sendOn(connection))
    hello
      .then(answer => this.#welcomed(connection, answer as AnswerOf<'hello'>, address))
      .catch(error => this.#failed(connection, error))
  }

  async #welcomed(connection: Connection<ControlMessage>, answer: AnswerOf<'hello'>, address: Endpoint): Promise<void> {
    if (this.#connection !== connection) return
    this.#checkWelcome(answer)
    this.#systemId = answer.systemId
    this.#phase = 'connected'
    this.options.log.info('mdm.connected', {
      mdm: answer.mdmName,
      address: text(address),
      mapVersion: answer.mapVersion,
    })
    await this.options.onConnected?.(this)
    if (this.#connection !== connection) return
    this.#failures = 0
    if (this.#subscriptionWanted && this.#subscribedOn !== connection) this.#askForMap(connection)
    this.#requests.sendAll(this.#sendOn(connection))
  }

  #checkWelcome(answer: AnswerOf<'hello'>): void {
    if (this.#systemId !== null && answer.systemId !== this.#systemId)
      throw new StorageError('WRONG_SYSTEM', { mdmHas: answer.systemId, want: this.#systemId })
    // Committed entries are never lost: an MDM that knows less than its daemons was restored from somewhere else.
    if (answer.mapVersion < this.#versionAtHello)
      throw new StorageError('WRONG_SYSTEM', {
        detail: 'the MDM knows an older configuration than this process',
        mdmHas: answer.mapVersion,
        have: this.#versionAtHello,
        remedy: 'check that the MDM runs on its own, current directory',
      })
  }

  #failed(connection: Connection<ControlMessage>, error: unknown): void {
    // A broken promise of our own ends the daemon, wherever it was noticed.
    if (error instanceof AssertionError) queueMicrotask(() => raise(error))
    if (this.#connection !== connection) return
    const code = error instanceof StorageError ? error.code : null
    if (code === 'WRONG_SYSTEM' || code === 'PROTOCOL') {
      this.options.log.error('mdm.refused', { reason: (error as Error).message })
      this.#end(error as StorageError)
      this.options.onRefused?.(error as StorageError)
      return
    }
    connection.close()
    this.#lost(error instanceof Error ? error.message : String(error))
  }

  /** The connection is over: try the next address, after a pause that grows with each round through all of them. */
  #lost(reason: string): void {
    const { log, clock, addresses } = this.options
    if (this.connected) log.warn('mdm.disconnected', { reason })
    else log.debug('mdm.unreachable', { reason, address: text(addresses[this.#failures % addresses.length]!) })
    this.#lastReason = reason
    this.#connection = null
    this.#subscribing = false
    this.#phase = 'trying'
    const rounds = Math.floor(this.#failures / addresses.length)
    this.#failures++
    const pauseMs = Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(rounds, 10))
    this.#retryTimer = clock.setTimer(pauseMs, () => this.#try())
    this.#requests.failSent(this.#unreachable())
  }

  #end(refusal: StorageError | null): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#refusal = refusal
    this.#retryTimer?.cancel()
    this.#connection?.close()
    this.#connection = null
    const error = refusal ?? new StorageError('UNREACHABLE', { detail: 'the connection to the MDM was closed here' })
    this.#requests.failAll(error)
    for (const subscriber of this.#subscribers.splice(0)) subscriber.reject(error)
  }

  // --- What arrives.

  #take(connection: Connection<ControlMessage>, message: ControlMessage): void {
    try {
      if (message.kind === 'answer') this.#requests.answer(message)
      else if (message.kind === 'request') void this.#serve(connection, message)
      else if (message.name === 'adopted') this.options.onAdopted?.()
      else if (message.name === 'map') this.#mapNotice(connection, message.params)
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      connection.close()
      this.#lost(error.message)
    }
  }

  #mapNotice(connection: Connection<ControlMessage>, params: unknown): void {
    const step = this.#keeper.take(checkMapNotice(params))
    this.#stepped(step)
    // While an answer is awaited, what is missing is on its way already.
    if (!step.gap || this.#subscribing || this.#connection !== connection) return
    this.options.log.warn('mdm.mapGap', { haveVersion: this.map.version })
    this.#askForMap(connection)
  }

  #stepped({ applied, whole }: MapStep): void {
    if (applied.length > 0 || whole) this.options.onMap?.(this.map, applied, whole)
  }

  #askForMap(connection: Connection<ControlMessage>): void {
    this.#subscribedOn = connection
    this.#subscribing = true
    const params = { fromVersion: this.map.version }
    this.#requests
      .add('subscribe', params, requestTimeoutMs, this.#sendOn(connection))
      .then(() => {
        this.#subscribing = false
        for (const subscriber of this.#subscribers.splice(0)) subscriber.resolve()
      })
      .catch(error => this.#failed(connection, error))
  }

  async #serve(connection: Connection<ControlMessage>, message: ControlMessage & { kind: 'request' }): Promise<void> {
    const { id } = message
    try {
      const result = await this.#handle(message.name, message.params)
      connection.send({ kind: 'answer', id, result: result ?? {} })
    } catch (error) {
      this.options.log.warn('mdm.requestFailed', { request: message.name, error: String(error) })
      connection.send({ kind: 'answer', id, error: errorToWire(error) })
    }
  }

  async #handle(name: string, params: unknown): Promise<unknown> {
    const { onRequest } = this.options
    if (onRequest === undefined || !Object.hasOwn(sdsRequests, name))
      throw new StorageError('BAD_REQUEST', { request: name, detail: 'this process does not answer such requests' })
    const checked = sdsRequests[name as keyof typeof sdsRequests].safeParse(params)
    if (!checked.success)
      throw new StorageError('BAD_ARGUMENT', { request: name, detail: checked.error.issues[0]?.message ?? 'malformed' })
    return onRequest(name as keyof typeof sdsRequests, checked.data as never)
  }

  #sendOn(connection: Connection<ControlMessage>): (message: ControlMessage) => void {
    return message => connection.send(message)
  }

  #unreachable(): StorageError {
    const mdm = this.options.addresses.map(text).join(',')
    return new StorageError('UNREACHABLE', { mdm, reason: this.#lastReason })
  }
}

function raise(error: Error): never {
  throw error
}

const text = (at: Endpoint): string => `${at.host}:${at.port}`
