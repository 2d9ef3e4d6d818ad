import { assert } from '../base/assert.js'
import { errorCodeOfWire, errorTable } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { sessionRequestsMax } from '../base/limits.js'
import { mutate } from '../base/mutation.js'
import type { Endpoint } from '../model/index.js'
import type { Clock, Connection, Link, Log, Relay, Timer } from '../ports/index.js'
import { encode } from '../wire/codec.js'
import { type DataFrame, type DataHello, makeFrame, opcodes } from '../wire/data.js'
import { releasePieces } from '../wire/payload-memory.js'
import { relayIdsFrom, SentTable } from './sent-table.js'

/** What a session sends and keeps until it is answered. The first fields belong to the session that keeps it. */
export interface SessionItem {
  keptBy: DeviceSession | null
  keptNext: SessionItem | null
  keptBefore: SessionItem | null
  /** Of the last sending; 0: not sent on the present connection. */
  requestId: number
  /** True if the frame has a payload: its memory is needed until the connection has let go of it. */
  readonly hasPayload: boolean
  /** The request as of now; called for each sending. */
  frameFor(requestId: number): DataFrame
  /** The answer to the last sending; its payload is valid during the call. The session has let go of the item. */
  onAnswer(frame: DataFrame): void
  /** Whether to send again when the connection on which it was sent has ended. */
  readonly resend: boolean
  /** It was not sent again; the session has let go of it. */
  onDropped(): void
}

/** What all sessions of this process share. */
export interface SessionHost {
  readonly clock: Clock
  readonly link: Link
  readonly log: Log
  readonly relay: Relay
  /** Where the device is served now; null while the map does not know it. */
  endpointOf(deviceId: DeviceId): Endpoint | null
  /** Who we are and what we know. */
  hello(): Pick<DataHello, 'systemId' | 'client' | 'incarnation' | 'mapVersion'>
  /** An SDS says that a newer process of this SDC has taken over. */
  onNoSession(deviceId: DeviceId): void
}

/**
 * Unanswered requests at one device at a time; more wait here. With what the relay sends (native/src/relay.cc) it is
 * less than an SDS takes before it stops reading, so that a ping is always heard.
 */
const windowMax = sessionRequestsMax / 2
const backoffMsMin = 50
const backoffMsMax = 1_000
const helloTimeoutMs = 5_000
/** After this much silence a device with unanswered requests is asked whether it lives; after the other, given up. */
const pingAfterMs = 1_000
const silenceMsMax = 15_000

/**
 * The one session of this process with one device, shared by all volumes (rule 7). Items leave in the order in which they
 * came, on one connection. When that ends, the next session (a higher counter) sends again, in that order, what is
 * unanswered. Each sending has a request id of its own, so that only the answer to the last one counts.
 *
 * The kept items are one list: first those that are sent, then those that wait for room in the window.
 */
export class DeviceSession {
  #state: 'idle' | 'connecting' | 'up' | 'pausing' | 'closed' = 'idle'
  #connection: Connection<DataFrame> | null = null
  #endpoint: Endpoint | null = null
  #counter = 0
  #first: SessionItem | null = null
  #last: SessionItem | null = null
  #firstUnsent: SessionItem | null = null
  readonly #sent = new SentTable<SessionItem>(windowMax)
  #backoffMs = backoffMsMin
  #timer: Timer | null = null
  #heardAtMs = 0
  /** When the device last said anything at all. */
  answeredAtMs = Number.NEGATIVE_INFINITY
  /** Since when something has been wanted of it; null: nothing is. */
  #wantedSinceMs: number | null = null
  /** For the metrics. */
  keptCount = 0
  connects = 0
  resends = 0

  constructor(
    readonly deviceId: DeviceId,
    readonly host: SessionHost,
    /** An answer as STALE_EPOCH to a request of nobody here. */
    readonly onStale: (frame: DataFrame) => void,
  ) {}

  get isUp(): boolean {
    return this.#state === 'up'
  }

  /** Of the session that is up; null: none is. */
  get connection(): Connection<DataFrame> | null {
    return this.#state === 'up' ? this.#connection : null
  }

  /** For how long something has been wanted of the device without a word from it. */
  silentMs(nowMs: number): number {
    return this.#wantedSinceMs === null ? 0 : nowMs - Math.max(this.#wantedSinceMs, this.answeredAtMs)
  }

  /** Finds out whether the device answers, though there is nothing to ask of it. */
  probe(): void {
    if (this.#state === 'idle') this.#connect()
    else if (this.#state === 'up') this.#connection!.send(makeFrame({ opcode: opcodes.ping }))
  }

  /** Keeps the item until it is answered; sends it when the window has room. */
  add(item: SessionItem): void {
    assert(item.keptBy === null, 'one session keeps an item')
    assert(this.#state !== 'closed', 'a closed session takes nothing')
    item.keptBy = this
    this.#wantedSinceMs ??= this.host.clock.nowMs()
    item.requestId = 0
    item.keptNext = null
    item.keptBefore = this.#last
    if (this.#last === null) this.#first = item
    else this.#last.keptNext = item
    this.#last = item
    this.#firstUnsent ??= item
    this.keptCount++
    if (this.#state === 'up') this.#pump()
    else if (this.#state === 'idle') this.#connect()
  }

  /** Lets go of an item: an answer to it no longer counts. */
  takeBack(item: SessionItem): void {
    assert(item.keptBy === this, 'an item is taken back from the session that keeps it')
    const { requestId } = item
    this.#unlink(item)
    if (requestId === 0) return
    if (!mutate('accept-an-old-answer')) this.#sent.forget(requestId)
    // The connection may still hold the payload, and its owner may use that memory again: nothing more must leave. The
    // rest not within this call: whoever takes back mostly goes through the list.
    if (item.hasPayload && this.#connection !== null && this.#connection.queuedBytes > 0) {
      this.#connection.close(true)
      this.#endLater(this.#connection)
    }
  }

  /** Visits every kept item, in order; the visitor may take back the one that it is given. */
  forEachKept(visit: (item: SessionItem) => void): void {
    for (let item = this.#first; item !== null; ) {
      const next: SessionItem | null = item.keptNext
      visit(item)
      item = next
    }
  }

  /** The device may be somewhere else now. */
  onMapChange(): void {
    if (this.#state !== 'pausing' && this.#state !== 'connecting') return
    const endpoint = this.host.endpointOf(this.deviceId)
    const moved = endpoint?.host !== this.#endpoint?.host || endpoint?.port !== this.#endpoint?.port
    if (endpoint !== null && moved) this.#connect()
  }

  /** The SDC has another id: what is sent from now on is sent under it. */
  renumbered(): void {
    if (this.#connection !== null) this.#lost('this SDC has another id')
  }

  /** Ends the session. What was kept has been taken back. */
  close(): void {
    assert(this.#first === null, 'a session closes when it keeps nothing')
    this.#disconnect()
    this.#state = 'closed'
  }

  // ---- the connection

  #connect(): void {
    this.#disconnect()
    this.#endpoint = this.host.endpointOf(this.deviceId)
    if (this.#endpoint === null) {
      this.#pause()
      return
    }
    this.#state = 'connecting'
    const connection = this.host.link.connectData(this.#endpoint, {
      onMessage: frame => {
        if (this.#connection === connection) this.#onFrame(frame)
      },
      onClose: reason => {
        if (this.#connection === connection) this.#lost(reason)
      },
    })
    this.#connection = connection
    this.connects++
    this.#counter++
    const hello: DataHello = {
      ...this.host.hello(),
      kind: 'sdc',
      counter: this.#counter,
      deviceId: this.deviceId,
    }
    connection.send(makeFrame({ opcode: opcodes.hello, body: [encode(hello)] }))
    this.#setTimer(helloTimeoutMs, () => this.#lost('no answer to hello'))
  }

  #onFrame(frame: DataFrame): void {
    this.#heardAtMs = this.host.clock.nowMs()
    this.answeredAtMs = this.#heardAtMs
    if (frame.opcode === opcodes.hello) this.#onWelcome(frame)
    else if (frame.opcode !== opcodes.ping) this.#onAnswer(frame)
  }

  #onAnswer(frame: DataFrame): void {
    if (frame.requestId >= relayIdsFrom) {
      this.#onRelayRefused(frame)
      return
    }
    const item = this.#sent.take(frame.requestId)
    if (item === undefined) {
      this.#lost(`an answer to request ${frame.requestId}, which was not sent`)
      return
    }
    this.#backoffMs = backoffMsMin
    if (item !== null) {
      if (frame.status === errorTable.NO_SESSION.wire) {
        this.#lost('the other side has ended the session')
        return
      }
      if (mutate('accept-an-old-answer') && item.keptBy !== this) item.keptBy?.takeBack(item)
      else this.#unlink(item)
      item.onAnswer(frame)
    }
    releasePieces(frame.body)
    if (this.#state === 'up') this.#pump()
  }

  /** The request itself has come back from the relay, and is sent again by whoever wants it. */
  #onRelayRefused(frame: DataFrame): void {
    if (frame.status === errorTable.STALE_EPOCH.wire) this.onStale(frame)
    releasePieces(frame.body)
    if (frame.status === errorTable.NO_SESSION.wire) this.#lost('the other side has ended the session')
  }

  #onWelcome(frame: DataFrame): void {
    if (frame.status !== 0) {
      const code = errorCodeOfWire(frame.status)
      // An SDS that is starting says so for a while.
      const level = code === 'NOT_READY' ? 'debug' : 'warn'
      this.host.log[level]('session.refused', { deviceId: this.deviceId, code, reason: errorTable[code].say })
      this.#lost(`refused: ${code}`)
      if (code === 'NO_SESSION') this.host.onNoSession(this.deviceId)
      return
    }
    if (this.#state !== 'connecting') return
    this.#state = 'up'
    this.host.log.debug('session.up', { deviceId: this.deviceId, counter: this.#counter })
    this.#watch()
    this.#pump()
  }

  /** Asks a silent device whether it lives, and gives it up when it does not answer. */
  #watch(): void {
    this.#setTimer(pingAfterMs, () => {
      const silentMs = this.host.clock.nowMs() - this.#heardAtMs
      const connection = this.#connection!
      const isAwaited = this.#sent.size > 0 || this.host.relay.unansweredOn(connection) > 0
      if (isAwaited && silentMs >= silenceMsMax) {
        this.#lost('silent')
        return
      }
      if (isAwaited && silentMs >= pingAfterMs) connection.send(makeFrame({ opcode: opcodes.ping }))
      if (!isAwaited) this.#heardAtMs = this.host.clock.nowMs()
      this.#watch()
    })
  }

  /** The connection is over. What was on it will be sent again, in order. */
  #lost(reason: string): void {
    const level = this.#state === 'up' ? 'warn' : 'debug'
    this.host.log[level]('session.lost', { deviceId: this.deviceId, reason, unanswered: this.keptCount })
    this.#disconnect()
    this.#sent.clear()
    const dropped: SessionItem[] = []
    this.forEachKept(item => {
      if (item.requestId === 0) return
      if (item.resend) {
        item.requestId = 0
        this.resends++
      } else {
        this.#unlink(item)
        dropped.push(item)
      }
    })
    this.#firstUnsent = this.#first
    this.#pause()
    for (const item of dropped) item.onDropped()
  }

  #endLater(connection: Connection<DataFrame>): void {
    this.host.clock.endOfTurn(() => {
      if (this.#connection === connection) this.#lost('a payload was taken back')
    })
  }

  #pause(): void {
    if (this.#first === null) {
      this.#state = 'idle'
      return
    }
    this.#state = 'pausing'
    this.#setTimer(this.#backoffMs, () => this.#connect())
    this.#backoffMs = Math.min(backoffMsMax, this.#backoffMs * 2)
  }

  #disconnect(): void {
    this.#timer?.cancel()
    this.#timer = null
    // Whatever was on it is sent again, or is of no interest: its payload may be gone before the connection is.
    this.#connection?.close(true)
    this.#connection = null
  }

  #setTimer(delayMs: number, fire: () => void): void {
    this.#timer?.cancel()
    this.#timer = this.host.clock.setTimer(delayMs, fire)
  }

  // ---- the list

  #pump(): void {
    while (this.#firstUnsent !== null && !this.#sent.isFull) {
      const item = this.#firstUnsent
      this.#firstUnsent = item.keptNext
      // Silence counts from when there is something to wait for.
      if (this.#sent.size === 0) this.#heardAtMs = this.host.clock.nowMs()
      item.requestId = this.#sent.add(item)
      this.#connection!.send(item.frameFor(item.requestId))
    }
  }

  #unlink(item: SessionItem): void {
    if (this.#firstUnsent === item) this.#firstUnsent = item.keptNext
    if (item.keptBefore === null) this.#first = item.keptNext
    else item.keptBefore.keptNext = item.keptNext
    if (item.keptNext === null) this.#last = item.keptBefore
    else item.keptNext.keptBefore = item.keptBefore
    item.keptBy = null
    item.keptNext = null
    item.keptBefore = null
    item.requestId = 0
    this.keptCount--
    if (this.#first === null) this.#wantedSinceMs = null
  }
}
