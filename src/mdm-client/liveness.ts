import type { Clock, Timer } from '../ports/index.js'

const tickMs = 500
/** So many ticks without a word, and the other side counts as dead. */
const silentTicksMax = 5

/** The longest that a master may say nothing; it is asked long before that. */
export const silenceMsMax = tickMs * silentTicksMax

export interface LivenessOwner {
  /** The connection has lasted for a while. Called once. */
  settled(): void
  /** Makes the other side say something. */
  ask(): void
  /** It is dead. Called once. */
  died(): void
}

/**
 * Watches over a connection that no longer says anything, because a host is gone or a process stands still. Counts its
 * own ticks rather than time: who was stopped himself finds what has come meanwhile before he calls the other one dead.
 */
export class Liveness {
  #timer: Timer | null = null
  #silentTicks = 0
  #isSettled = false

  constructor(
    readonly clock: Clock,
    readonly owner: LivenessOwner,
  ) {
    this.#again()
  }

  heard(): void {
    this.#silentTicks = 0
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  #again(): void {
    this.#timer = this.clock.setTimer(tickMs, () => this.#tick())
  }

  #tick(): void {
    this.#silentTicks++
    if (this.#silentTicks > silentTicksMax) {
      this.owner.died()
      return
    }
    this.#again()
    if (!this.#isSettled) this.owner.settled()
    this.#isSettled = true
    if (this.#silentTicks > 1) this.owner.ask()
  }
}
