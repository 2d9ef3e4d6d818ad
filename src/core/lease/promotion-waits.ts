/** Why a promoted copy does not act yet. */
export interface PromotionWait {
  /** The slice. */
  key: number
  /** Whose place it takes; null: nobody knows, so everybody to whom something was promised. */
  sds: number | null
  /** The map version that promoted it. */
  version: number
  /** The incarnation of `sds` that may still act. */
  incarnation: number
  untilMs: number
}

/**
 * Slices whose primary this process has become in another's place (design section 5, rule 3). It acts only when what it
 * granted to that one has run out, or that one has shown that it knows the new record, or is known to be gone: its SDS
 * has registered again, and so has a map that is newer.
 */
export class PromotionWaits {
  readonly #waits = new Map<number, PromotionWait>()
  readonly #shown = new Map<number, number>()
  readonly #incarnations = new Map<number, number>()

  get countNow(): number {
    return this.#waits.size
  }

  has(key: number): boolean {
    return this.#waits.has(key)
  }

  incarnationOf(sds: number): number {
    return this.#incarnations.get(sds) ?? 0
  }

  add(wait: PromotionWait, nowMs: number): void {
    const have = this.#waits.get(wait.key)
    // Promoted twice within one lease: only time settles both.
    const due =
      have === undefined || this.#isOver(have, nowMs)
        ? wait
        : { ...wait, sds: null, untilMs: Math.max(have.untilMs, wait.untilMs) }
    if (this.#isOver(due, nowMs)) this.#waits.delete(wait.key)
    else this.#waits.set(wait.key, due)
  }

  /** `sds` acts by a map of at least this version. */
  shown(sds: number, version: number): void {
    if (version > (this.#shown.get(sds) ?? 0)) this.#shown.set(sds, version)
  }

  registered(sds: number, incarnation: number): void {
    if (incarnation > this.incarnationOf(sds)) this.#incarnations.set(sds, incarnation)
  }

  /** Forgets the waits that are over; true if there were any. */
  release(nowMs: number): boolean {
    const before = this.#waits.size
    for (const wait of this.#waits.values()) if (this.#isOver(wait, nowMs)) this.#waits.delete(wait.key)
    return this.#waits.size < before
  }

  /** When time alone ends the next wait. */
  get nextMs(): number | null {
    let nextMs: number | null = null
    for (const { untilMs } of this.#waits.values()) if (nextMs === null || untilMs < nextMs) nextMs = untilMs
    return nextMs
  }

  #isOver({ sds, version, incarnation, untilMs }: PromotionWait, nowMs: number): boolean {
    if (nowMs >= untilMs) return true
    if (sds === null) return false
    return (this.#shown.get(sds) ?? 0) >= version || this.incarnationOf(sds) > incarnation
  }
}
