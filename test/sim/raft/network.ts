import type { MemberId } from '../../../src/core/raft/index.js'
import type { Random } from '../../../src/ports/random.js'
import type { Timeline } from './timeline.js'

export interface NetworkPlan {
  lossPercent: number
  duplicatePercent: number
  delayMax: number
}

/** Carries anything from one member to another, sometimes: late, out of order, twice, or not at all. */
export class SimNetwork {
  plan: NetworkPlan
  readonly #blocked = new Set<string>()

  constructor(
    readonly timeline: Timeline,
    readonly random: Random,
    plan: NetworkPlan,
  ) {
    this.plan = plan
  }

  send(from: MemberId, to: MemberId, deliver: () => void): void {
    const { lossPercent, duplicatePercent } = this.plan
    if (this.random.integer(100) < lossPercent) return
    this.#carry(from, to, deliver)
    if (this.random.integer(100) < duplicatePercent) this.#carry(from, to, deliver)
  }

  isOpen(from: MemberId, to: MemberId): boolean {
    return !this.#blocked.has(`${from}>${to}`)
  }

  /** One way. */
  block(from: MemberId, to: MemberId): void {
    this.#blocked.add(`${from}>${to}`)
  }

  heal(): void {
    this.#blocked.clear()
  }

  #carry(from: MemberId, to: MemberId, deliver: () => void): void {
    if (!this.isOpen(from, to)) return
    this.timeline.after(1 + this.random.integer(this.plan.delayMax), () => {
      if (this.isOpen(from, to)) deliver()
    })
  }
}
