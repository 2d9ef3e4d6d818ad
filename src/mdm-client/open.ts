import { AssertionError } from '../base/assert.js'
import { StorageError } from '../base/errors.js'
import type { ClusterMap, Endpoint, MapDelta } from '../model/index.js'
import type { Connection, Timer } from '../ports/index.js'
import {
  type AnswerOf,
  type ClusterReport,
  type ControlMessage,
  controlVersion,
  type MdmNotices,
  type MdmRequestName,
  type MdmRequests,
} from '../wire/control.js'
import { AddressBook, endpointOf, spell } from './address-book.js'
import type { MdmClient, MdmClientOptions } from './client.js'
import { Liveness, silenceMsMax, silenceMsMin } from './liveness.js'
import { checkDeltas, checkMapNotice, MapKeeper, type MapStep } from './map-keeper.js'
import { type Fate, RequestTable, type Send } from './request-table.js'
import { serve } from './serve.js'

/** An MDM that does not answer `hello` within this is passed over; every few rounds, or where there is no other, it has longer. */
const helloTimeoutMsMin = 1_000
const helloTimeoutMsMax = 5_000
const helloRounds = 4
const requestTimeoutMs = 60_000
/** A master that was cut off from the others may not know for a while that there is a newer one. */
const olderMsMax = 15_000

/** Asked anew on each connection by whoever made it. */
const ofConnection: readonly MdmRequestName[] = ['hello', 'registerSds', 'registerSdc', 'subscribe', 'ping']
/** What a tool may ask as often as it likes. */
const changesNothing: readonly MdmRequestName[] = ['query', 'queryCluster']

export function openMdmClient(options: MdmClientOptions): MdmClient {
  return new Client(options)
}

type Phase = 'idle' | 'trying' | 'connected' | 'closed'
type Control = Connection<ControlMessage>

class Client implements MdmClient {
  readonly #keeper = new MapKeeper()
  readonly #requests: RequestTable
  readonly #book: AddressBook
  #phase: Phase = 'idle'
  #systemId: string | null
  #connection: Control | null = null
  #address: Endpoint | null = null
  #retryTimer: Timer | null = null
  #liveness: Liveness | null = null
  /** What we knew when we asked: since then others may have handed over newer changes than the answer knows of. */
  #versionAtHello = 0
  /** The last master that fell silent, and how long it may be silent if it turns out that it was only slow. */
  #silence: { at: string; nextMs: number } | null = null
  /** Since when every master that was found has known less than we do. */
  #olderSinceMs: number | null = null
  /** Addresses whose MDM has refused us, since one last did not. */
  readonly #refusedBy = new Set<string>()
  /** Why there is no majority, as an MDM has said in that round of the search. */
  #noMajority: { detail: string; round: number } | null = null
  /** What ended the client for good, if anything did. */
  #refusal: StorageError | null = null
  #subscriptionWanted = false
  /** The connection on which map notices come. */
  #subscribedOn: Control | null = null
  #subscribing = false
  #subscribers: Waiter[] = []
  #waitsForMaster: Waiter[] = []

  constructor(readonly options: MdmClientOptions) {
    this.#systemId = options.systemId
    this.#book = new AddressBook(options.addresses)
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

  ready(timeoutMs: number): Promise<void> {
    if (this.#phase === 'closed') return Promise.reject(this.#refusal ?? this.#unreachable())
    if (this.connected) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const timer = this.options.clock.setTimer(timeoutMs, () => reject(this.#unreachable()))
      const settle = (act: () => void) => {
        timer.cancel()
        act()
      }
      this.#waitsForMaster.push({ resolve: () => settle(resolve), reject: error => settle(() => reject(error)) })
    })
  }

  request<N extends MdmRequestName>(
    name: N,
    params: MdmRequests[N],
    { timeoutMs = requestTimeoutMs }: { timeoutMs?: number } = {},
  ): Promise<AnswerOf<N>> {
    if (this.#phase === 'closed') return Promise.reject(this.#refusal ?? this.#unreachable())
    return this.#requests.add(name, params, timeoutMs, this.#fateOf(name)) as Promise<AnswerOf<N>>
  }

  /** What daemons report may be repeated by nature. */
  #fateOf(name: MdmRequestName): Fate {
    if (ofConnection.includes(name)) return 'ends'
    const { role, client } = this.options
    if (role !== 'tool' || changesNothing.includes(name)) return 'repeats'
    return client === undefined ? 'ends' : 'change'
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

  // --- Finding the master.

  #try(): void {
    const { link, role, name, client } = this.options
    const { rounds, all } = this.#book
    const address = this.#book.next()
    const connection = link.connectControl(address, {
      onMessage: message => {
        if (this.#connection === connection) this.#take(connection, message)
      },
      onClose: reason => {
        if (this.#connection === connection) this.#lost(reason)
      },
    })
    this.#connection = connection
    this.#address = address
    this.#versionAtHello = this.map.version
    const system = this.map.tables.systems.values().next().value
    const params = {
      version: controlVersion,
      role,
      systemId: this.#systemId,
      name,
      ...(client ? { client } : {}),
      ...(system && { era: system.era ?? '' }),
    }
    const grownMs = helloTimeoutMsMin * (1 + Math.floor(rounds / helloRounds))
    const timeoutMs = all.length === 1 ? helloTimeoutMsMax : Math.min(helloTimeoutMsMax, grownMs)
    this.#requests
      .add('hello', params, timeoutMs, 'ends', sendOn(connection))
      .then(answer => this.#welcomed(connection, answer as AnswerOf<'hello'>))
      .catch(error => this.#failed(connection, error))
  }

  async #welcomed(connection: Control, answer: AnswerOf<'hello'>): Promise<void> {
    if (this.#connection !== connection) return
    this.#checkWelcome(answer)
    this.#systemId = answer.systemId
    this.#phase = 'connected'
    this.#olderSinceMs = null
    this.#noMajority = null
    this.#refusedBy.clear()
    const { mdmName: mdm, mapVersion } = answer
    this.options.log.info('mdm.connected', { mdm, address: spell(this.#address!), mapVersion })
    this.#watch(connection)
    this.#requests.open(sendOn(connection))
    for (const { resolve } of this.#waitsForMaster.splice(0)) resolve()
    await this.options.onConnected?.(this)
    if (this.#connection !== connection) return
    if (this.#subscriptionWanted && this.#subscribedOn !== connection) this.#askForMap(connection)
    this.#requests.sendAll()
  }

  #checkWelcome(answer: AnswerOf<'hello'>): void {
    if (this.#systemId !== null && answer.systemId !== this.#systemId)
      throw new StorageError('WRONG_SYSTEM', { mdmHas: answer.systemId, want: this.#systemId })
    if (answer.mapVersion >= this.#versionAtHello) return
    // Committed entries are never lost: an MDM that goes on knowing less than its daemons was restored from elsewhere.
    const nowMs = this.options.clock.nowMs()
    this.#olderSinceMs ??= nowMs
    throw new StorageError(this.#isOlderForGood ? 'WRONG_SYSTEM' : 'NOT_READY', {
      detail: 'the MDM knows an older configuration than this process',
      mdmHas: answer.mapVersion,
      have: this.#versionAtHello,
      remedy: 'check that the MDM runs on its own, current directory',
    })
  }

  /** Who has been master for so long speaks for its cluster. */
  get #isOlderForGood(): boolean {
    return this.#olderSinceMs !== null && this.options.clock.nowMs() - this.#olderSinceMs >= olderMsMax
  }

  #watch(connection: Control): void {
    const at = spell(this.#address!)
    const isOnlyOne = this.#book.all.length === 1
    const silenceMs = isOnlyOne ? silenceMsMax : this.#silence?.at === at ? this.#silence.nextMs : silenceMsMin
    this.#silence = null
    const ping = () => this.#requests.add('ping', {}, silenceMs, 'ends', sendOn(connection))
    this.#liveness = new Liveness(this.options.clock, silenceMs, {
      // A connection that ends as soon as it is made is one more failure, not the end of the search.
      settled: () => this.#book.found(this.#address!),
      ask: () => void ping().catch(error => error.code === 'NOT_MASTER' && this.#failed(connection, error)),
      died: () => {
        this.#silence = { at, nextMs: Math.min(silenceMsMax, silenceMs * 2) }
        connection.close()
        this.#lost(`it has said nothing for ${silenceMs / 1000} s`, true)
      },
    })
  }

  #failed(connection: Control, error: unknown): void {
    // A broken promise of our own ends the daemon, wherever it was noticed.
    if (error instanceof AssertionError) queueMicrotask(() => raise(error))
    if (this.#connection !== connection) return
    const code = error instanceof StorageError ? error.code : null
    if (code === 'NOT_MASTER') {
      this.#sentOn(connection, error as StorageError)
      return
    }
    if (code === 'WRONG_SYSTEM' || code === 'PROTOCOL') this.#refused(error as StorageError)
    if (this.#phase === 'closed') return
    connection.close()
    this.#lost(error instanceof Error ? error.message : String(error), code === 'TIMED_OUT' && !this.connected)
  }

  /** One address may be a mistake; where every one of them refuses us, trying again is of no use. */
  #refused(error: StorageError): void {
    const address = spell(this.#address!)
    this.options.log.error('mdm.refused', { reason: error.message, address })
    this.#refusedBy.add(address)
    if (!this.#isOlderForGood && !this.#book.all.every(at => this.#refusedBy.has(spell(at)))) return
    this.#end(error)
    this.options.onRefused?.(error)
  }

  /** It is not the master. Where it does not know who is, it says how the cluster is. */
  #sentOn(connection: Control, error: StorageError): void {
    this.#leavePhase('it is not the master any more')
    const give = (said: string) => {
      if (this.#connection !== connection) return
      connection.close()
      this.#lost(said)
    }
    const master = endpointOf(error.context.master)
    if (master !== null) {
      this.#book.redirect(master)
      give(`it is not the master, ${spell(master)} is`)
      return
    }
    this.#requests
      .add('queryCluster', {}, helloTimeoutMsMin, 'ends', sendOn(connection))
      .then(report => give(this.#learnFrom(report as ClusterReport)))
      .catch(() => give(`it is not the master${error.context.detail ? ` (${error.context.detail})` : ''}`))
  }

  #learnFrom({ mdms, state, detail }: ClusterReport): string {
    this.#learn(mdms)
    this.#noMajority = null
    if (state !== 'Error') return 'it is not the master, and knows of none'
    const said = detail ?? 'there is no majority of its members'
    this.#noMajority = { detail: said, round: this.#book.rounds }
    return 'it is not the master, and there is none'
  }

  /** Who stands by is no master. */
  #learn(mdms: Iterable<{ endpoint: Endpoint; membership: string }>): void {
    const members = [...mdms].filter(({ membership }) => membership !== 'attaching' && membership !== 'standby')
    if (members.length > 0) this.#book.learn(members.map(({ endpoint }) => endpoint))
  }

  /** The connection is over: look for the master at the next address. */
  #lost(reason: string, isSilent = false): void {
    this.#leavePhase(reason)
    this.#book.note(this.#address!, reason, isSilent)
    this.options.log.debug('mdm.notThere', { reason, address: spell(this.#address!) })
    this.#connection = null
    this.#retryTimer = this.options.clock.setTimer(this.#book.pauseMs, () => this.#try())
  }

  #leavePhase(reason: string): void {
    this.#liveness?.stop()
    this.#liveness = null
    this.#subscribing = false
    if (this.connected) this.options.log.warn('mdm.disconnected', { reason, address: spell(this.#address!) })
    this.#phase = 'trying'
    this.#requests.lost(new StorageError('UNREACHABLE', { mdm: spell(this.#address!), reason }))
  }

  #end(refusal: StorageError | null): void {
    if (this.#phase === 'closed') return
    this.#phase = 'closed'
    this.#refusal = refusal
    this.#retryTimer?.cancel()
    this.#liveness?.stop()
    this.#connection?.close()
    this.#connection = null
    const error = refusal ?? new StorageError('UNREACHABLE', { detail: 'the connection to the MDM was closed here' })
    this.#requests.failAll(error)
    for (const { reject } of [...this.#subscribers.splice(0), ...this.#waitsForMaster.splice(0)]) reject(error)
  }

  // --- What arrives.

  #take(connection: Control, message: ControlMessage): void {
    this.#liveness?.heard()
    try {
      if (message.kind === 'answer') this.#answer(connection, message)
      else if (message.kind === 'request') void serve(this.options, message, sendOn(connection))
      else if (message.name === 'adopted') this.options.onAdopted?.()
      else if (message.name === 'map') this.#mapNotice(connection, message.params)
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      connection.close()
      this.#lost(error.message)
    }
  }

  #answer(connection: Control, message: ControlMessage & { kind: 'answer' }): void {
    const notMaster = this.#requests.answer(message)
    if (notMaster !== null) this.#failed(connection, notMaster)
  }

  #mapNotice(connection: Control, params: unknown): void {
    const step = this.#keeper.take(checkMapNotice(params))
    this.#stepped(step)
    // While an answer is awaited, what is missing is on its way already.
    if (!step.gap || this.#subscribing || this.#connection !== connection) return
    this.options.log.warn('mdm.mapGap', { haveVersion: this.map.version })
    this.#askForMap(connection)
  }

  #stepped({ applied, whole }: MapStep): void {
    if (applied.length === 0 && !whole) return
    const namesMdms = applied.some(({ changes }) =>
      changes.some(change => 'table' in change && change.table === 'mdms'),
    )
    if (whole || namesMdms) this.#learn(this.map.tables.mdms.values())
    this.options.onMap?.(this.map, applied, whole)
  }

  #askForMap(connection: Control): void {
    this.#subscribedOn = connection
    this.#subscribing = true
    const params = { fromVersion: this.map.version }
    this.#requests
      .add('subscribe', params, requestTimeoutMs, 'ends', sendOn(connection))
      .then(() => {
        this.#subscribing = false
        for (const { resolve } of this.#subscribers.splice(0)) resolve()
      })
      .catch(error => this.#failed(connection, error))
  }

  #unreachable(): StorageError {
    const isRecent = this.#noMajority !== null && this.#noMajority.round >= this.#book.rounds - 1
    if (!isRecent)
      return new StorageError('UNREACHABLE', { detail: 'no MDM answers as master', tried: this.#book.story() })
    return new StorageError('UNREACHABLE', {
      detail: `the MDM cluster has no master: ${this.#noMajority!.detail}`,
      tried: this.#book.story(),
      remedy: 'nothing can be changed until more of its members run and reach each other; I/O goes on meanwhile',
    })
  }
}

interface Waiter {
  resolve(): void
  reject(error: unknown): void
}

const sendOn =
  (connection: Control): Send =>
  message =>
    connection.send(message)

function raise(error: Error): never {
  throw error
}
