import type { Clock } from '../../ports/index.js'
import type { Activity } from './activity.js'
import type { StoreDone, StoreError } from './device-store.js'

/** Answers that are known at once; they are given at the end of the turn, so that no call answers before it returns. */
export class Answers {
  private waiting: { done: StoreDone; error: StoreError | null }[] = []
  private readonly give = () => this.giveAll()

  constructor(
    private readonly clock: Clock,
    private readonly activity: Activity,
  ) {}

  add(done: StoreDone, error: StoreError | null): void {
    this.waiting.push({ done, error })
    if (this.waiting.length > 1) return
    this.activity.enter()
    this.clock.endOfTurn(this.give)
  }

  private giveAll(): void {
    const waiting = this.waiting
    this.waiting = []
    this.activity.leave()
    for (const { done, error } of waiting) done(error)
  }
}
