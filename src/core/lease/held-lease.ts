/** The lease that one process holds from another one, and whether that one answers at all. */
export class HeldLease {
  /** The first ask since the last answer; null: none is open. */
  #unansweredSinceMs: number | null = null
  /** Nobody listens there: the process is gone. */
  #isRefused = false

  /** A read may be answered before this moment, which others may watch. */
  constructor(readonly deadline: { atMs: number } = { atMs: 0 }) {}

  get untilMs(): number {
    return this.deadline.atMs
  }

  /** Before the ask leaves. */
  asked(nowMs: number): void {
    this.#unansweredSinceMs ??= nowMs
  }

  /** Any answer shows that the other one lives. */
  heard(): void {
    this.#unansweredSinceMs = null
    this.#isRefused = false
  }

  /** Counted from the ask: the other side promised later than that, and for longer. */
  granted(askedMs: number, leaseMs: number): void {
    this.deadline.atMs = Math.max(this.deadline.atMs, askedMs + leaseMs)
  }

  refused(): void {
    this.#isRefused = true
  }

  /** This process did not run for a while: the silence was its own. It asks again before it accuses anybody. */
  stalled(nowMs: number): void {
    this.#isRefused = false
    if (this.#unansweredSinceMs !== null) this.#unansweredSinceMs = nowMs
  }

  get isRefused(): boolean {
    return this.#isRefused
  }

  /** How long asks have been without an answer. */
  silentMs(nowMs: number): number {
    return this.#unansweredSinceMs === null ? 0 : nowMs - this.#unansweredSinceMs
  }
}
