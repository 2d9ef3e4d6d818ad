import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import type { Outbox } from './outbox.js'
import { isAtLeast } from './position.js'
import type { MemberId, Position, RaftMessage } from './types.js'

export type VoteRequest = RaftMessage & { type: 'vote' }

/**
 * Term, vote and leader of one member. Invariants: the term never goes down; in one term one vote, for one candidate;
 * both are durable before anybody hears of them.
 */
export class Ballot {
  readonly #outbox: Outbox
  readonly #electionTicks: number
  #term: number
  #vote: MemberId | null
  #leader: MemberId | null = null
  #silentTicks = 0

  constructor(outbox: Outbox, electionTicks: number, recovered: { term: number; vote: MemberId | null }) {
    this.#outbox = outbox
    this.#electionTicks = electionTicks
    this.#term = recovered.term
    this.#vote = recovered.vote
  }

  get term(): number {
    return this.#term
  }

  get vote(): MemberId | null {
    return this.#vote
  }

  get leader(): MemberId | null {
    return this.#leader
  }

  /** Not while leading: a leader hears itself. */
  tick(): void {
    if (++this.#silentTicks >= 2 * this.#electionTicks) this.#leader = null
  }

  enter(term: number): void {
    assert(term > this.#term, 'terms go up')
    this.#term = term
    this.#vote = null
    this.#leader = null
    this.#outbox.hardStateChanged()
  }

  follow(leader: MemberId): void {
    assert(this.#leader === null || this.#leader === leader, 'a term has one leader')
    this.#leader = leader
    this.#silentTicks = 0
  }

  forgetLeader(): void {
    this.#leader = null
  }

  voteFor(candidate: MemberId): void {
    assert(this.#vote === null || this.#vote === candidate || mutate('raft-vote-twice'), 'a term has one vote')
    if (this.#vote === candidate) return
    this.#vote = candidate
    this.#outbox.hardStateChanged()
  }

  /**
   * Whether a request for votes is not even looked at: a leader is heard, so whoever does not hear it must not disturb
   * those who do (dissertation 4.2.3 and 9.6). `isLeading`: this member is that leader.
   */
  ignores(request: VoteRequest, isLeading: boolean): boolean {
    if (request.isTransfer || request.term <= this.#term) return false
    return isLeading || (this.#leader !== null && this.#silentTicks < this.#electionTicks)
  }

  /** `newest`: the newest entry that this member answers for. A candidate must have all that may have been committed. */
  grants(request: VoteRequest, newest: Position): boolean {
    const isFree = request.isPre
      ? request.term > this.#term
      : this.#vote === request.from || (this.#vote === null && this.#leader === null) || mutate('raft-vote-twice')
    return isFree && (isAtLeast(request.last, newest) || mutate('raft-vote-without-looking-at-the-log'))
  }
}
