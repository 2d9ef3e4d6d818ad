import { type DeviceId, idOfNumber, numberOfId, type SdsId, type SystemId } from '../base/ids.js'
import { frameBodyBytesMax } from '../base/limits.js'
import { mutate } from '../base/mutation.js'
import { GrantedLeases, HeldLease, PromotionWaits } from '../core/lease/index.js'
import { PrimaryHistory, type PrimaryMoves, sliceKey } from '../core/sds/index.js'
import type { ClusterMap, Endpoint, MapDelta, SliceRecord } from '../model/index.js'
import type { Deadlines, Timer } from '../ports/index.js'
import { decode, encode } from '../wire/codec.js'
import type { MdmNotices } from '../wire/control.js'
import type { DataFrame, DataHello, LeaseAnswer, LeaseAsk } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { type LeaseOwner, LeasePeer } from './lease-peer.js'

export interface LeaseOptions {
  leaseMs: number
  heartbeatMs: number
  /** The longest lease that this SDS may have granted before it started. */
  earlierLeaseMs: number
}

/** What waits for leases before it may answer. */
export interface LeaseWaiter {
  /** A lease was renewed, perhaps not the one that is missing. */
  leaseRenewed(): void
}

/** A heartbeat that is this late was not late alone: the whole process did not run. */
const stallMs = 500

/**
 * The leases between this SDS and the others that share slices with it (design section 5, rule 3): those that it holds,
 * without which it shows nobody what it has read; and those that it grants, for which it waits before it acts in
 * another's place.
 */
export class Leases implements LeaseOwner {
  readonly leaseMs: number
  readonly #held = new Map<number, HeldLease>()
  readonly #heldOfDevice = new Map<DeviceId, HeldLease>()
  /** From nobody: it is always held. */
  readonly #own: HeldLease
  readonly #peers = new Map<number, LeasePeer>()
  readonly #granted: GrantedLeases
  readonly #waits = new PromotionWaits()
  readonly #history: PrimaryHistory
  readonly #waiters = new Set<LeaseWaiter>()
  #beat: Timer | null = null
  #beatDueMs = 0
  #release: Timer | null = null
  #isClosed = false

  constructor(
    readonly context: SdsContext,
    readonly options: LeaseOptions,
    /** Slices that had to wait may be acted on now. */
    readonly onMayAct: () => void,
    /** Each heartbeat: who does not answer. */
    readonly onBeat: (unreachable: MdmNotices['sdsAlive']['unreachable']) => void,
  ) {
    this.leaseMs = options.leaseMs
    this.#granted = new GrantedLeases(context.clock.nowMs(), Math.max(options.leaseMs, options.earlierLeaseMs))
    this.#own = new HeldLease(context.passes.newDeadline())
    this.#own.deadline.atMs = Number.POSITIVE_INFINITY
    this.#history = new PrimaryHistory(deviceId => context.tables().devices.get(deviceId)?.sdsId === context.sdsId)
  }

  start(): void {
    this.#beatDueMs = this.context.clock.nowMs() + this.options.heartbeatMs
    this.#beat = this.context.clock.setTimer(this.options.heartbeatMs, () => this.#onBeat())
  }

  close(): void {
    this.#isClosed = true
    this.#beat?.cancel()
    this.#release?.cancel()
    for (const peer of this.#peers.values()) peer.close()
  }

  // --- For whoever acts as primary.

  /** Whether this SDS may act as primary of the slice: serve, fill, report. False while a promotion is waited out. */
  mayAct(pool: number, slice: number): boolean {
    return !this.#waits.has(sliceKey(pool, slice)) || mutate('skip-the-lease-wait')
  }

  /** Whether what is read now under this record may be shown: nobody else can be acting as its primary. */
  holdsAll({ secondary, joining }: SliceRecord): boolean {
    if ((secondary === null && joining === null) || mutate('answer-reads-without-a-lease')) return true
    const nowMs = this.context.clock.nowMs()
    return this.#holds(secondary, nowMs) && this.#holds(joining, nowMs)
  }

  /** `holdsAll` is true before these, which move on as leases are renewed. */
  deadlinesOf({ secondary, joining }: SliceRecord): Deadlines | null {
    if (mutate('give-passes-without-a-lease')) return [this.#own.deadline, this.#own.deadline]
    const one = this.#heldOf(secondary)
    const other = this.#heldOf(joining)
    return one === undefined || other === undefined ? null : [one.deadline, other.deadline]
  }

  /** `waiter` hears of renewals until it is forgotten. */
  await(waiter: LeaseWaiter): void {
    this.context.counters.leaseWaits++
    this.#waiters.add(waiter)
  }
  forget(waiter: LeaseWaiter): void {
    this.#waiters.delete(waiter)
  }

  /** True if somebody else may have led the slice at some time after `epoch`. */
  wasAwaySince(pool: number, slice: number, epoch: number): boolean {
    return this.#history.wasAwaySince(sliceKey(pool, slice), epoch)
  }

  get promotionWaitsNow(): number {
    return this.#waits.countNow
  }

  #holds(deviceId: DeviceId | null, nowMs: number): boolean {
    return nowMs < (this.#heldOf(deviceId)?.untilMs ?? 0)
  }

  #heldOf(deviceId: DeviceId | null): HeldLease | undefined {
    return deviceId === null ? this.#own : this.#heldOfDevice.get(deviceId)
  }

  // --- The map.

  /** After the view has changed and before anybody acts by it. `deltas` null: the map is a new one. */
  mapChanged(map: ClusterMap, deltas: readonly MapDelta[] | null): void {
    let hasResigned = false
    const nowMs = this.context.clock.nowMs()
    if (deltas === null) {
      for (const sds of map.tables.sdss.values()) this.#waits.registered(numberOfId(sds.id), sds.incarnation)
      hasResigned = this.#moved(this.#history.replace(map), nowMs)
    } else
      for (const delta of deltas) {
        // Incarnations of the entry itself come after: whoever registers in it knows it.
        if (this.#moved(this.#history.take(delta), nowMs)) hasResigned = true
        for (const change of delta.changes)
          if (change.kind === 'put' && change.table === 'sdss')
            this.#waits.registered(numberOfId(change.value.id), change.value.incarnation)
      }
    if (deltas === null || deltas.some(changesPartners)) this.#refreshPartners()
    this.#endWaits()
    // Whoever leads instead of us need not wait longer than until it hears that we know.
    if (hasResigned) this.#askAll()
  }

  #moved({ promotions, hasResigned }: PrimaryMoves, nowMs: number): boolean {
    for (const { key, version, from } of promotions) {
      const sds = from === null ? null : (this.context.view.sdsOfDevice.get(from) ?? null)
      if (sds === this.context.number) continue
      const incarnation = sds === null ? 0 : this.#waits.incarnationOf(sds)
      this.#waits.add({ key, sds, version, incarnation, untilMs: this.#granted.untilMs(sds) }, nowMs)
    }
    return hasResigned
  }

  /** Everybody whose device has a copy of, or has left, a slice of which a device of ours has or has left a copy. */
  #refreshPartners(): void {
    const { context } = this
    const { sdsOfDevice, pools } = context.view
    this.#heldOfDevice.clear()
    for (const [deviceId, sds] of sdsOfDevice) this.#heldOfDevice.set(deviceId as DeviceId, this.#heldFrom(sds))
    const partners = new Set<number>()
    for (const pool of pools.values())
      for (const { primary, secondary, joining, left } of pool.records) {
        const a = sdsOfDevice.get(primary)
        const b = secondary === null ? undefined : sdsOfDevice.get(secondary)
        const c = joining === null ? undefined : sdsOfDevice.get(joining)
        const d = left == null ? undefined : sdsOfDevice.get(left)
        const me = context.number
        if (a !== me && b !== me && c !== me && d !== me) continue
        for (const sds of [a, b, c, d]) if (sds !== undefined && sds !== me) partners.add(sds)
      }
    for (const [sds, peer] of this.#peers)
      if (!partners.has(sds)) {
        peer.close()
        this.#peers.delete(sds)
        this.#heldFrom(sds).heard()
      }
    for (const sds of partners) {
      if (this.#peers.has(sds)) continue
      const peer = new LeasePeer(this, sds, this.#heldFrom(sds))
      this.#peers.set(sds, peer)
      if (context.isServing) peer.ask()
    }
  }

  #heldFrom(sds: number): HeldLease {
    if (sds === this.context.number) return this.#own
    let held = this.#held.get(sds)
    if (held === undefined) {
      held = new HeldLease(this.context.passes.newDeadline())
      this.#held.set(sds, held)
    }
    return held
  }

  endpointOf(sds: number): Endpoint | null {
    return this.context.tables().sdss.get(this.#idOf(sds))?.endpoint ?? null
  }

  incarnationOf(sds: number): number {
    return this.context.tables().sdss.get(this.#idOf(sds))?.incarnation ?? 0
  }

  #idOf(sds: number): SdsId {
    return idOfNumber<'sds'>(this.context.systemId as SystemId, sds) as SdsId
  }

  // --- Asking.

  /** This SDS has another id: what it held and asked for, it did under the old one. */
  renumbered(): void {
    for (const peer of this.#peers.values()) peer.close()
    this.#peers.clear()
    for (const held of this.#held.values()) held.deadline.atMs = 0
    this.#held.clear()
    this.context.passes.voidAll()
    this.context.callBackLanes()
    this.#refreshPartners()
  }

  /** This process has begun to serve: asks without waiting for the next heartbeat. */
  serving(): void {
    this.#askAll()
  }

  renewed(): void {
    for (const waiter of [...this.#waiters]) if (this.#waiters.has(waiter)) waiter.leaseRenewed()
  }

  #askAll(): void {
    if (!this.context.isServing || this.#isClosed) return
    for (const peer of this.#peers.values()) peer.ask()
  }

  #onBeat(): void {
    const nowMs = this.context.clock.nowMs()
    if (nowMs - this.#beatDueMs > stallMs) {
      this.context.log.warn('sds.stalled', { forMs: Math.round(nowMs - this.#beatDueMs) })
      for (const held of this.#held.values()) held.stalled(nowMs)
    }
    this.#askAll()
    this.#checkWaits()
    this.onBeat([...this.#unreachable(nowMs)])
    this.start()
  }

  *#unreachable(nowMs: number): Generator<MdmNotices['sdsAlive']['unreachable'][number]> {
    if (!this.context.isServing) return
    for (const [sds, { held }] of this.#peers) {
      const forMs = Math.floor(held.silentMs(nowMs))
      if (forMs < this.options.heartbeatMs / 2 && !held.isRefused) continue
      yield { sdsId: this.#idOf(sds), forMs, refused: held.isRefused }
    }
  }

  // --- Granting.

  /** `sds` acts by a map of at least `version`: said in a lease ask or a hello. */
  shown(sds: number, version: number): void {
    this.#waits.shown(sds, version)
    if (this.#waits.countNow > 0) this.#checkWaits()
  }

  /** What an ask is answered; null: it is malformed. */
  answer(hello: DataHello, frame: DataFrame): LeaseAnswer | null {
    const ask = parseAsk(frame)
    if (ask === null) return null
    const { context } = this
    const { client } = hello
    const isCurrent = ask.incarnation === hello.incarnation && ask.incarnation === this.incarnationOf(client)
    if (!isCurrent || !context.isServing) return this.#answerOf(false, [])
    this.shown(client, ask.mapVersion)
    const changes = this.#withheldFor(ask.mapVersion)
    if (changes !== null) return this.#answerOf(false, changes)
    this.#granted.grant(client, context.clock.nowMs(), this.leaseMs)
    return this.#answerOf(true, [])
  }

  /** null: a lease may be granted. Else what the asker must know first, as far as it is here and fits. */
  #withheldFor(mapVersion: number): MapDelta[] | null {
    const { ring, view } = this.context
    if (mapVersion >= view.version || mutate('grant-leases-regardless-of-slices')) return null
    if (!ring.reaches(mapVersion)) return []
    const lacks = ring.since(mapVersion)
    if (!lacks.some(delta => this.#promotesUs(delta))) return null
    while (lacks.length > 0 && encode(lacks).length > frameBodyBytesMax - answerBytes)
      lacks.length = Math.floor(lacks.length / 2)
    return lacks
  }

  #promotesUs({ changes }: MapDelta): boolean {
    const { sdsOfDevice } = this.context.view
    return changes.some(
      change =>
        change.kind === 'slices' &&
        change.slices.some(({ primary }) => sdsOfDevice.get(primary) === this.context.number),
    )
  }

  #answerOf(granted: boolean, deltas: MapDelta[]): LeaseAnswer {
    const { incarnation, view } = this.context
    return { granted, incarnation, mapVersion: view.version, deltas, leaseMs: this.leaseMs }
  }

  #checkWaits(): void {
    if (this.#endWaits()) this.onMayAct()
  }

  /** Ends the promotions that have been waited out, and sets the alarm for the next one. True if any has ended. */
  #endWaits(): boolean {
    this.#release?.cancel()
    this.#release = null
    const nowMs = this.context.clock.nowMs()
    const hasEnded = this.#waits.release(nowMs)
    const { nextMs } = this.#waits
    if (nextMs !== null && !this.#isClosed)
      this.#release = this.context.clock.setTimer(nextMs - nowMs, () => this.#checkWaits())
    return hasEnded
  }
}

/** Slices and where they are served. */
const changesPartners = ({ changes }: MapDelta): boolean =>
  changes.some(
    change =>
      change.kind === 'slices' ||
      change.kind === 'dropSlices' ||
      change.table === 'devices' ||
      change.table === 'sdss' ||
      change.table === 'pools',
  )

/** What an answer is besides its changes. */
const answerBytes = 1_024

function parseAsk(frame: DataFrame): LeaseAsk | null {
  try {
    const ask = decode(Buffer.concat(frame.body)) as LeaseAsk
    const counts = [ask.incarnation, ask.mapVersion]
    return counts.every(count => Number.isSafeInteger(count) && count >= 0) ? ask : null
  } catch {
    return null
  }
}
