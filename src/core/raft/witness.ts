import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import { Ballot, type VoteRequest } from './ballot.js'
import { Outbox } from './outbox.js'
import { isAtLeast } from './position.js'
import type {
  Member,
  MemberId,
  Position,
  Raft,
  RaftEffects,
  RaftMessage,
  RaftMessageBody,
  RaftOptions,
  RaftStatus,
  RoleChange,
} from './types.js'

/**
 * A tie breaker (design section 8). It has no log: its *mark* is the newest place in the log that it has accepted, and
 * only grows, by term, then index. It votes for whoever has at least its mark, and has nothing to lead with.
 */
export class Witness implements Raft {
  readonly #self: MemberId
  readonly #outbox: Outbox
  readonly #ballot: Ballot
  #mark: Position
  #members: readonly Member[]
  #told: RoleChange | null = null

  constructor({ self, timing, recovered }: RaftOptions) {
    this.#self = self
    this.#outbox = new Outbox(self)
    this.#ballot = new Ballot(this.#outbox, timing.electionTicks, recovered.hardState)
    this.#mark = recovered.mark
    this.#members = recovered.snapshot.members
    assert(this.#ballot.term >= this.#mark.term, 'a mark is never newer than the term')
  }

  tick(): void {
    this.#ballot.tick()
  }

  step(message: RaftMessage): void {
    const { type, term, from } = message
    if (term < this.#ballot.term) {
      if (type === 'vote' || type === 'heartbeat' || type === 'offer') this.#send(from, { type: 'newerTerm' })
      return
    }
    if (type === 'vote' && this.#ballot.ignores(message, false)) return
    if (term > this.#ballot.term && !(type === 'vote' && message.isPre)) this.#ballot.enter(term)
    if (type === 'vote') this.#answerVote(message)
    else if (type === 'heartbeat') this.#heartbeat(message)
    else if (type === 'offer') this.#accept(message)
  }

  #answerVote(request: VoteRequest): void {
    const newest = mutate('raft-witness-votes-blindly') ? { term: 0, index: 0 } : this.#mark
    const isGranted = this.#ballot.grants(request, newest)
    if (isGranted && !request.isPre) this.#ballot.voteFor(request.from)
    const term = isGranted ? request.term : this.#ballot.term
    const body = { type: 'voteAnswer', isPre: request.isPre, isGranted } as const
    this.#outbox.sendWhenDurable({ from: this.#self, to: request.from, term, ...body })
  }

  #heartbeat({ from, round, members }: RaftMessage & { type: 'heartbeat' }): void {
    this.#hear(from)
    if (members && !isSameList(members, this.#members)) {
      this.#members = members
      this.#outbox.write({ members })
    }
    this.#send(from, { type: 'heartbeatAnswer', round })
  }

  #accept({ from, term, index }: RaftMessage & { type: 'offer' }): void {
    this.#hear(from)
    const offered = { term, index }
    // An offer that was overtaken by a newer one takes nothing back: what was acknowledged may have been committed.
    if (!isAtLeast(this.#mark, offered) || mutate('raft-mark-goes-back')) {
      this.#mark = offered
      if (!mutate('raft-forget-the-mark')) this.#outbox.write({ mark: offered })
    }
    assert(this.#mark.term === term, 'nothing newer than the term was accepted')
    const body = { type: 'offerAnswer', index: this.#mark.index } as const
    this.#outbox.sendWhenDurable({ from: this.#self, to: from, term, ...body })
  }

  #hear(leader: MemberId): void {
    this.#ballot.follow(leader)
  }

  #send(to: MemberId, body: RaftMessageBody): void {
    this.#outbox.send({ from: this.#self, to, term: this.#ballot.term, ...body })
  }

  persisted(token: number): void {
    this.#outbox.persisted(token, null)
  }

  takeEffects(): RaftEffects {
    const { term, vote } = this.#ballot
    const write = this.#outbox.takeWrite({ term, vote, commit: 0 }, null)
    return { write, ...this.#outbox.takeOut(), committed: [], role: this.#takeRole() }
  }

  get status(): RaftStatus {
    const { index } = this.#mark
    return {
      ...this.#role,
      commit: 0,
      lastIndex: index,
      members: this.#members,
      areMembersCommitted: true,
      progress: {},
    }
  }

  get #role(): RoleChange {
    return { role: 'witness', term: this.#ballot.term, leader: this.#ballot.leader }
  }

  #takeRole(): RoleChange | null {
    const now = this.#role
    const told = this.#told
    if (told && told.term === now.term && told.leader === now.leader) return null
    this.#told = now
    return now
  }

  // What only managers do.

  campaign(): void {}
  propose(): null {
    return null
  }
  proposeMembers(): { refused: string } {
    return { refused: 'a tie breaker never leads' }
  }
  readIndex(token: number): void {
    this.#outbox.out.readsFailed.push(token)
  }
  transferTo(): boolean {
    return false
  }
  wantsSnapshot(): boolean {
    return false
  }
  snapshotReceived(): void {}
  snapshotSent(): void {}
  unreachable(): void {}
  compacted(): void {}
}

const isSameList = (have: readonly Member[], want: readonly Member[]): boolean =>
  have.length === want.length &&
  have.every(({ id, kind, isLearner }, at) => {
    const other = want[at]!
    return other.id === id && other.kind === kind && other.isLearner === isLearner
  })
