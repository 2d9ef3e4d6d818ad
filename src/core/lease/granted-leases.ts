import { mutate } from '../../base/mutation.js'

/** What the granter allows for clocks that do not run at the same rate. */
const clockRateAllowance = 1.05

/** For how long the granter of a lease of `leaseMs` is bound by it. */
export const promiseMs = (leaseMs: number): number => leaseMs * clockRateAllowance

/**
 * What one process has promised to others (design section 5, rule 3): not to act as primary in their place until the
 * lease runs out. Counted from the moment of the answer; the asker counts from the moment it asked, which was before.
 * Whoever starts counts as having granted everybody a lease at that moment: what its predecessor promised holds.
 */
export class GrantedLeases {
  readonly #untilMs = new Map<number, number>()
  readonly #startUntilMs: number
  #latestMs: number

  /** `leaseMs`: the longest that this process or the one before it has ever granted. */
  constructor(startMs: number, leaseMs: number) {
    this.#startUntilMs = mutate('forget-grants-on-restart') ? startMs : startMs + promiseMs(leaseMs)
    this.#latestMs = this.#startUntilMs
  }

  grant(sds: number, nowMs: number, leaseMs: number): void {
    const untilMs = nowMs + promiseMs(leaseMs)
    this.#untilMs.set(sds, Math.max(this.untilMs(sds), untilMs))
    this.#latestMs = Math.max(this.#latestMs, untilMs)
  }

  /** Until when this process is bound to `sds`; null: to anybody. */
  untilMs(sds: number | null): number {
    return sds === null ? this.#latestMs : (this.#untilMs.get(sds) ?? this.#startUntilMs)
  }
}
