import { Progress } from './progress.js'
import { Standing } from './standing.js'
import type { Member, MemberProgress, RaftOptions } from './types.js'

/** What a leader knows of one other member. */
export class Peer {
  readonly #electionTicks: number
  readonly progress: Progress
  readonly standing: Standing
  member: Member
  silentTicks: number
  /** The newest round that it has answered. */
  round = 0
  /** Tie breakers: the newest offer that is under way. */
  offered = 0
  /** Was heard while something is missing there: something may have been lost. */
  isNudged = false

  constructor(
    member: Member,
    next: number,
    { timing, limits }: RaftOptions,
    from: { silentTicks: number; patience: number },
  ) {
    this.member = member
    this.#electionTicks = timing.electionTicks
    this.progress = new Progress(next, limits.inflightMax)
    const windowEntries = limits.entriesPerAppendMax * limits.inflightMax
    this.standing = new Standing(timing.electionTicks, windowEntries, from.patience)
    this.silentTicks = from.silentTicks
  }

  get isActive(): boolean {
    return this.silentTicks < this.#electionTicks
  }

  get status(): MemberProgress {
    const { match, state } = this.progress
    return { match, state, isActive: this.isActive, isInStep: this.standing.isInStep && this.member.kind === 'manager' }
  }
}
