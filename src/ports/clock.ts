/** Time, as an argument. The real one follows CLOCK_BOOTTIME; the simulator's is virtual. */
export interface Clock {
  /** Milliseconds since some fixed moment of this boot; never goes back, counts suspend. Fractions allowed. */
  nowMs(): number
  /** Calls `fire` once, `delayMs` from now or later. */
  setTimer(delayMs: number, fire: () => void): Timer
  /** Calls `fire` after everything that is already due in this turn: where batches are sent. */
  endOfTurn(fire: () => void): void
}

export interface Timer {
  /** No call comes after this; may be repeated. */
  cancel(): void
}
