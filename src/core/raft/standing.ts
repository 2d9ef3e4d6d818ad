/**
 * Whether a full member "still answers" (design section 8), so that commits wait for it and tie breakers are offered
 * nothing that it lacks. Answering means acknowledging: whoever is heard but does not get on, or is far behind, is out
 * of step. It is back in step with an acknowledgement that brings it within `lagMax` entries of the leader: what may be
 * under way at once, so that commits never wait for a long catching-up.
 */
export class Standing {
  readonly #patienceTicks: number
  readonly #lagMax: number
  #leftTicks: number
  /** Has been within `lagMax` since it is in step. */
  #isProven = false

  /** `leftTicks`: for how long the member is presumed to answer at first; 0: it is out of step. */
  constructor(patienceTicks: number, lagMax: number, leftTicks: number) {
    this.#patienceTicks = patienceTicks
    this.#lagMax = lagMax
    this.#leftTicks = leftTicks
  }

  get isInStep(): boolean {
    return this.#leftTicks > 0
  }

  tick(): void {
    if (this.#leftTicks === 0) return
    if (--this.#leftTicks === 0) this.#isProven = false
  }

  /** It has acknowledged something new, or has been heard with nothing left to acknowledge; `lag` entries are missing. */
  gotOn(lag: number): void {
    if (lag <= this.#lagMax) this.#isProven = true
    if (this.#isProven) this.#leftTicks = this.#patienceTicks
    else this.#leftTicks = 0
  }

  leave(): void {
    this.#leftTicks = 0
    this.#isProven = false
  }
}
