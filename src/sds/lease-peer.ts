import { numberOfId, type SdsId } from '../base/ids.js'
import type { HeldLease } from '../core/lease/index.js'
import type { Endpoint } from '../model/index.js'
import type { CloseReason, Connection } from '../ports/index.js'
import { decode, encode } from '../wire/codec.js'
import {
  type DataFrame,
  type DataHello,
  frameFlags,
  type LeaseAnswer,
  type LeaseAsk,
  makeFrame,
  opcodes,
} from '../wire/data.js'
import type { SdsContext } from './context.js'
import { parseWelcome } from './hello.js'
import { encodeDeltas, parseDeltas } from './map-changes.js'

/** What the asker's side of all leases shares. */
export interface LeaseOwner {
  readonly context: SdsContext
  readonly leaseMs: number
  endpointOf(sds: number): Endpoint | null
  /** The incarnation of an SDS in the map. */
  incarnationOf(sds: number): number
  /** A lease was given or renewed. */
  renewed(): void
}

/** The connection on which this SDS asks one other for its lease, four times a second. It has no other traffic. */
export class LeasePeer {
  #connection: Connection<DataFrame> | null = null
  #endpoint: Endpoint | null = null
  /** When each unanswered ask was sent, by requestId. */
  readonly #asked = new Map<number, number>()
  #isUp = false
  #isClosed = false
  #openedMs = 0
  #nextId = 1
  /** Who answered last in place of the one that was asked. */
  #other: string | null = null
  /** The newest version whose changes were handed over on this connection. */
  #handedVersion = 0

  constructor(
    readonly owner: LeaseOwner,
    readonly sds: number,
    readonly held: HeldLease,
  ) {}

  /** Each heartbeat, and whenever there is news: connects, or asks. */
  ask(): void {
    // What an answer told may have ended it.
    if (this.#isClosed) return
    const nowMs = this.owner.context.clock.nowMs()
    const now = this.owner.endpointOf(this.sds)
    if (now?.host !== this.#endpoint?.host || now?.port !== this.#endpoint?.port) this.#drop()
    // A path that was cut comes back sooner on a new connection than by the old one's retransmissions.
    const isSilent = this.held.silentMs(nowMs) > 2 * this.owner.leaseMs
    if (isSilent && nowMs - this.#openedMs > 2 * this.owner.leaseMs) this.#drop()
    this.#endpoint = now
    if (now === null) return
    this.held.asked(nowMs)
    if (this.#connection === null) this.#connect(now, nowMs)
    else if (this.#isUp) this.#send(nowMs)
  }

  close(): void {
    this.#isClosed = true
    this.#drop()
  }

  #connect(endpoint: Endpoint, nowMs: number): void {
    const { context } = this.owner
    this.#openedMs = nowMs
    this.#connection = context.link.connectData(endpoint, {
      onMessage: frame => this.#received(frame),
      onClose: (reason, why) => this.#lost(reason, why),
    })
    const hello: DataHello = {
      systemId: context.systemId!,
      kind: 'lease',
      client: context.number,
      incarnation: context.incarnation,
      counter: ++context.sessionsOpened,
      deviceId: '',
      mapVersion: context.view.version,
    }
    this.#connection.send(makeFrame({ opcode: opcodes.hello, body: [encode(hello)] }))
  }

  #send(nowMs: number): void {
    const { incarnation, view } = this.owner.context
    const ask: LeaseAsk = { incarnation, mapVersion: view.version }
    const requestId = this.#nextId++
    this.#asked.set(requestId, nowMs)
    this.#connection!.send(makeFrame({ opcode: opcodes.lease, requestId, body: [encode(ask)] }))
  }

  #received(frame: DataFrame): void {
    if ((frame.flags & frameFlags.reply) === 0) return
    const isHello = frame.opcode === opcodes.hello
    const isWelcome = isHello && frame.status === 0
    const isTheirs = !isWelcome || this.#isFromThem(frame)
    if (isTheirs) this.held.heard()
    if (isHello) {
      if (isWelcome && isTheirs) this.#welcomed()
      // It lives, but is not ready, or knows a newer process of ours; or is another one: the next heartbeat tries again.
      else this.#drop()
      return
    }
    const askedMs = this.#asked.get(frame.requestId)
    if (frame.opcode !== opcodes.lease || askedMs === undefined) return
    this.#asked.delete(frame.requestId)
    const answer = frame.status === 0 ? parseAnswer(frame) : null
    if (answer !== null) this.#answered(answer, askedMs)
  }

  /** An address may be another SDS's by now, whose promise would be worth nothing here. */
  #isFromThem(welcome: DataFrame): boolean {
    const sdsId = parseWelcome(welcome)?.sdsId ?? ''
    const isTheirs = sdsId !== '' && numberOfId(sdsId as SdsId) === this.sds
    // It is asked again with each heartbeat.
    if (!isTheirs && sdsId !== this.#other)
      this.owner.context.log.warn('sds.lease-of-another', { sds: this.sds, endpoint: this.#endpoint, answered: sdsId })
    this.#other = isTheirs ? null : sdsId
    return isTheirs
  }

  #welcomed(): void {
    if (this.#isUp) return
    this.#isUp = true
    this.#handedVersion = 0
    const nowMs = this.owner.context.clock.nowMs()
    this.held.asked(nowMs)
    this.#send(nowMs)
  }

  #answered(answer: LeaseAnswer, askedMs: number): void {
    const { context } = this.owner
    // A process that the map says is gone cannot promise for the one that took its place.
    if (answer.granted && answer.incarnation >= this.owner.incarnationOf(this.sds)) {
      this.held.granted(askedMs, Math.min(this.owner.leaseMs, answer.leaseMs))
      this.owner.renewed()
    }
    const before = context.view.version
    if (answer.deltas.length > 0) context.takeChanges(answer.deltas)
    if (context.view.version > before) this.ask()
    else if (answer.mapVersion < context.view.version) this.#handOver(answer.mapVersion)
  }

  /** Whoever is ahead hands over what the other one lacks. */
  #handOver(theirVersion: number): void {
    const { view, ring } = this.owner.context
    if (this.#connection === null || this.#handedVersion >= view.version) return
    this.#handedVersion = view.version
    const body = encodeDeltas(ring.since(theirVersion))
    if (body !== null) this.#connection.send(makeFrame({ opcode: opcodes.mapChanges, body: [body] }))
  }

  #drop(): void {
    this.#connection?.close()
    this.#connection = null
    this.#isUp = false
    this.#asked.clear()
  }

  #lost(reason: string, why: CloseReason = 'other'): void {
    const wasUp = this.#isUp
    this.#drop()
    if (why === 'refused') this.held.refused()
    if (!wasUp) return
    this.owner.context.log.info('sds.lease-lost', { sds: this.sds, reason })
    // Whether anybody listens there any more is known at once.
    this.ask()
  }
}

function parseAnswer(frame: DataFrame): LeaseAnswer | null {
  try {
    const answer = decode(Buffer.concat(frame.body)) as LeaseAnswer
    const counts = [answer.incarnation, answer.mapVersion]
    const isSound =
      typeof answer.granted === 'boolean' &&
      counts.every(count => Number.isSafeInteger(count) && count >= 0) &&
      Number.isFinite(answer.leaseMs) &&
      parseDeltas([encode(answer.deltas)]) !== null
    return isSound ? answer : null
  } catch {
    return null
  }
}
