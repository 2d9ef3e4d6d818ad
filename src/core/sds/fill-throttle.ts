import { assert } from '../../base/assert.js'
import { KiB, MiB } from '../../base/units.js'
import type { IoPolicy } from '../../model/index.js'

/** Slices with one copy in sync are rebuilt; a third copy beside two in sync is a move. */
export type FillKind = 'rebuild' | 'rebalance'

/** Pieces at a time where the policy names no number. */
export const piecesAtOnceMax = 16
/** A load is measured over at least this long, and not over longer than `loadMsMax`. */
const loadMsMin = 100
const loadMsMax = 2_000
/** Bytes that may go at once after a pause, as time at the rate: bridges late timers. */
const burstMs = 100

/** What fills get at least beside applications that use the device all the time. */
const bytesPerMsMin = MiB / 1000
/** Over about so long the use of the device is averaged. */
const useMs = 1_000

interface Lane {
  policy: IoPolicy
  underWay: number
  /** Bytes that may go now; negative while a piece that was larger is paid back. */
  level: number
  filledAtMs: number
  busyUntilMs: number
}

/**
 * Keeps the copying from one device within its pool's policies, per kind. Time comes as an argument. Concurrency always
 * holds where the policy names it; the bandwidth always (favorAppIos), or only beside applications (dynamicBwThrottling):
 * from the moment their load on the device reaches a threshold until it has been below both for the quiet period.
 */
export class FillThrottle {
  readonly #lanes: Record<FillKind, Lane>
  /** What applications had done when their load was last measured. */
  #load: { ios: number; bytes: number; atMs: number } | null = null
  /** What they move, averaged, in bytes per ms. */
  #appBytesPerMs = 0
  /** In what share of the time some application waits for the device, averaged. */
  #use = 1
  #usedAtMs: number

  constructor(policies: Record<FillKind, IoPolicy>, nowMs: number) {
    const lane = (policy: IoPolicy): Lane => ({
      policy,
      underWay: 0,
      level: 0,
      filledAtMs: nowMs,
      busyUntilMs: nowMs + quietMsOf(policy),
    })
    this.#usedAtMs = nowMs
    this.#lanes = { rebuild: lane(policies.rebuild), rebalance: lane(policies.rebalance) }
  }

  setPolicies(policies: Record<FillKind, IoPolicy>, nowMs: number): void {
    for (const kind of ['rebuild', 'rebalance'] as const) {
      const lane = this.#lanes[kind]
      if (lane.policy === policies[kind]) continue
      fill(lane, this.#rateOf(lane, nowMs), nowMs)
      lane.policy = policies[kind]
      lane.busyUntilMs = nowMs + quietMsOf(lane.policy)
    }
  }

  /** What applications have done on the device so far, ever growing. To be called before `take`, however often. */
  noteLoad(ios: number, bytes: number, nowMs: number): void {
    const last = this.#load
    const elapsedMs = last === null ? Number.POSITIVE_INFINITY : nowMs - last.atMs
    assert(elapsedMs >= 0, 'the clock passed in runs forward')
    if (last !== null && elapsedMs < loadMsMin) return
    this.#load = { ios, bytes, atMs: nowMs }
    if (last !== null && elapsedMs <= loadMsMax)
      this.#appBytesPerMs += ((bytes - last.bytes) / elapsedMs - this.#appBytesPerMs) * Math.min(1, elapsedMs / useMs)
    for (const lane of Object.values(this.#lanes)) {
      const { policy } = lane
      if (policy.kind !== 'dynamicBwThrottling') continue
      // Nobody has looked for long: what was spread over that time may all have come this moment.
      const isKnown = last !== null && elapsedMs <= loadMsMax
      const iops = isKnown ? ((ios - last.ios) * 1000) / elapsedMs : 0
      const kbPerSec = isKnown ? ((bytes - last.bytes) * 1000) / KiB / elapsedMs : 0
      const isBusy = iops >= policy.appIopsThreshold || kbPerSec >= policy.appBandwidthKbPerSecThreshold
      if (!isKnown || isBusy) lane.busyUntilMs = nowMs + policy.quietPeriodMs
    }
  }

  /** Whether some application waits for the device now. To be called like `noteLoad`: many looks show the use. */
  noteUse(isInUse: boolean, nowMs: number): void {
    this.#use += (Number(isInUse) - this.#use) * Math.min(1, (nowMs - this.#usedAtMs) / useMs)
    this.#usedAtMs = nowMs
  }

  /**
   * Takes a piece of `bytes`: 0, and `ended` follows. Or takes nothing, and returns how many ms to wait before asking
   * again; null: until a piece of this kind has ended.
   */
  take(kind: FillKind, bytes: number, nowMs: number): number | null {
    const lane = this.#lanes[kind]
    if (lane.underWay >= concurrencyOf(lane.policy)) return null
    const ratePerMs = this.#rateOf(lane, nowMs)
    fill(lane, ratePerMs, nowMs)
    if (ratePerMs > 0) {
      // A piece larger than the bucket waits until it is full and borrows the rest.
      const missing = Math.min(bytes, ratePerMs * burstMs) - lane.level
      if (missing > 1e-6) return Math.max(1, Math.ceil(missing / ratePerMs))
      lane.level -= bytes
    }
    lane.underWay++
    return 0
  }

  ended(kind: FillKind): void {
    const lane = this.#lanes[kind]
    assert(lane.underWay > 0, 'a piece ends once')
    lane.underWay--
  }

  /** Bytes per ms; 0: no bound. */
  #rateOf({ policy, busyUntilMs }: Lane, nowMs: number): number {
    if (policy.kind !== 'favorAppIos' && policy.kind !== 'dynamicBwThrottling') return 0
    const most = (policy.bandwidthKbPerSec * KiB) / 1000
    if (policy.kind === 'favorAppIos') return most
    if (nowMs >= busyUntilMs) return 0
    if (policy.appPercent === undefined) return most
    const share = (this.#appBytesPerMs * policy.appPercent) / 100
    // Squared: what rests a fifth of the time is the bottleneck of somebody now and then.
    return Math.min(most, Math.max(bytesPerMsMin, share, most * (1 - this.#use) ** 2))
  }
}

/** Brings the level up to now; a rate of 0 leaves nothing owed or saved. */
function fill(lane: Lane, ratePerMs: number, nowMs: number): void {
  assert(nowMs >= lane.filledAtMs, 'the clock passed in runs forward')
  const earned = lane.level + (nowMs - lane.filledAtMs) * ratePerMs
  lane.level = ratePerMs > 0 ? Math.min(ratePerMs * burstMs, earned) : 0
  lane.filledAtMs = nowMs
}

const concurrencyOf = (policy: IoPolicy): number =>
  policy.kind === 'unlimited' ? piecesAtOnceMax : Math.max(1, Math.min(piecesAtOnceMax, policy.concurrentIos))

const quietMsOf = (policy: IoPolicy): number => (policy.kind === 'dynamicBwThrottling' ? policy.quietPeriodMs : 0)
