import { assert } from '../../base/assert.js'
import { KiB } from '../../base/units.js'
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

  constructor(policies: Record<FillKind, IoPolicy>, nowMs: number) {
    const lane = (policy: IoPolicy): Lane => ({
      policy,
      underWay: 0,
      level: 0,
      filledAtMs: nowMs,
      busyUntilMs: nowMs + quietMsOf(policy),
    })
    this.#lanes = { rebuild: lane(policies.rebuild), rebalance: lane(policies.rebalance) }
  }

  setPolicies(policies: Record<FillKind, IoPolicy>, nowMs: number): void {
    for (const kind of ['rebuild', 'rebalance'] as const) {
      const lane = this.#lanes[kind]
      if (lane.policy === policies[kind]) continue
      fill(lane, nowMs)
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

  /**
   * Takes a piece of `bytes`: 0, and `ended` follows. Or takes nothing, and returns how many ms to wait before asking
   * again; null: until a piece of this kind has ended.
   */
  take(kind: FillKind, bytes: number, nowMs: number): number | null {
    const lane = this.#lanes[kind]
    if (lane.underWay >= concurrencyOf(lane.policy)) return null
    const ratePerMs = rateOf(lane, nowMs)
    fill(lane, nowMs)
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
}

function fill(lane: Lane, nowMs: number): void {
  assert(nowMs >= lane.filledAtMs, 'the clock passed in runs forward')
  const { policy } = lane
  if (policy.kind === 'favorAppIos' || policy.kind === 'dynamicBwThrottling') {
    const perMs = (policy.bandwidthKbPerSec * KiB) / 1000
    lane.level = Math.min(perMs * burstMs, lane.level + (nowMs - lane.filledAtMs) * perMs)
  } else lane.level = 0
  lane.filledAtMs = nowMs
}

/** Bytes per ms; 0: no bound. */
function rateOf({ policy, busyUntilMs }: Lane, nowMs: number): number {
  if (policy.kind === 'favorAppIos') return (policy.bandwidthKbPerSec * KiB) / 1000
  if (policy.kind !== 'dynamicBwThrottling' || nowMs >= busyUntilMs) return 0
  return (policy.bandwidthKbPerSec * KiB) / 1000
}

const concurrencyOf = (policy: IoPolicy): number =>
  policy.kind === 'unlimited' ? piecesAtOnceMax : Math.max(1, Math.min(piecesAtOnceMax, policy.concurrentIos))

const quietMsOf = (policy: IoPolicy): number => (policy.kind === 'dynamicBwThrottling' ? policy.quietPeriodMs : 0)
