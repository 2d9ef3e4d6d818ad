import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import { Ballot, type VoteRequest } from './ballot.js'
import { Campaign } from './campaign.js'
import type { RaftCore } from './core.js'
import { Leader } from './leader.js'
import { RaftLog } from './log.js'
import { isVoter, votersOf } from './membership.js'
import { Outbox } from './outbox.js'
import { ForwardedReads, type Reader } from './reads.js'
import type {
  HardState,
  Member,
  MemberId,
  Position,
  Raft,
  RaftEffects,
  RaftMessage,
  RaftMessageBody,
  RaftOptions,
  RaftRole,
  RaftStatus,
  RoleChange,
  SnapshotHead,
} from './types.js'

type Message<Type extends RaftMessage['type']> = RaftMessage & { type: Type }

/** A full member: follows, campaigns, leads. */
export class Manager implements Raft, RaftCore {
  readonly options: RaftOptions
  readonly log: RaftLog
  readonly ballot: Ballot
  readonly outbox: Outbox
  /** At most one of these two; neither: it follows. */
  #leading: Leader | null = null
  #campaign: Campaign | null = null
  #elapsedTicks = 0
  #patienceTicks = 0
  readonly #forwarded: ForwardedReads
  #told: RoleChange | null = null

  constructor(options: RaftOptions) {
    this.options = options
    this.log = new RaftLog(options.recovered)
    this.outbox = new Outbox(options.self)
    this.ballot = new Ballot(this.outbox, options.timing.electionTicks, options.recovered.hardState)
    this.#forwarded = new ForwardedReads(options.random)
    assert(this.ballot.term >= this.log.last.term, 'an entry is never newer than the term')
    this.#follow()
  }

  // ---- events ----

  tick(): void {
    this.outbox.out.readsFailed.push(...this.#forwarded.takeOverdue(this.options.timing.electionTicks))
    if (this.#leading) {
      if (!this.#leading.tick()) this.#follow()
      return
    }
    this.ballot.tick()
    if (++this.#elapsedTicks >= this.#patienceTicks) this.campaign()
  }

  step(message: RaftMessage): void {
    if (message.term > this.ballot.term) this.#meetNewerTerm(message)
    else if (message.term < this.ballot.term) this.#answerOlderTerm(message)
    else this.#receive(message)
  }

  campaign(): void {
    if (this.#leading || !this.#mayLead) return
    this.ballot.forgetLeader()
    this.#failReads()
    this.#begin(new Campaign({ isPre: true, isTransfer: false, heard: [] }))
  }

  propose(payload: unknown): Position | null {
    return this.#leading?.propose(payload) ?? null
  }

  proposeMembers(members: readonly Member[], payload: unknown = null): Position | { refused: string } {
    return this.#leading?.proposeMembers(members, payload) ?? { refused: 'this member is not the leader' }
  }

  readIndex(token: number): void {
    const { leader } = this.ballot
    if (this.#leading) this.#leading.read({ token })
    else if (leader === null) this.outbox.out.readsFailed.push(token)
    else this.#send(leader, { type: 'readIndex', context: this.#forwarded.add(token) })
  }

  transferTo(member: MemberId): boolean {
    return this.#leading?.transferTo(member) ?? false
  }

  unreachable(member: MemberId): void {
    this.#leading?.unreachable(member)
  }

  // ---- the driver's disk ----

  persisted(token: number): void {
    for (const message of this.outbox.persisted(token, this.log)) this.step(message)
  }

  wantsSnapshot(head: SnapshotHead): boolean {
    return head.index > this.log.commit
  }

  snapshotReceived(head: SnapshotHead): void {
    if (this.#leading) return
    if (this.wantsSnapshot(head)) {
      // With the same entry there, everything before it is the same, too, and the log goes on.
      if (this.log.has(head)) this.log.commitTo(head.index)
      else {
        this.log.restore(head)
        this.outbox.write({ snapshot: head })
      }
    }
    if (this.ballot.leader !== null) this.#promise(this.ballot.leader, { type: 'appendAnswer', index: this.log.commit })
  }

  snapshotSent(to: MemberId, isReceived: boolean): void {
    this.#leading?.snapshotSent(to, isReceived)
  }

  compacted(head: SnapshotHead): void {
    this.log.compact(head.index)
  }

  takeEffects(): RaftEffects {
    if (this.#leading) {
      this.#leading.flush()
      if (this.#leading.hasLeft) this.#leave(this.#leading)
    }
    const write = this.outbox.takeWrite(this.#hardState, this.log)
    return { write, ...this.outbox.takeOut(), committed: this.log.takeCommitted(), role: this.#takeRole() }
  }

  get status(): RaftStatus {
    const { log } = this
    return {
      ...this.#role,
      commit: log.commit,
      lastIndex: log.lastIndex,
      members: log.members,
      areMembersCommitted: log.areMembersCommitted,
      progress: this.#leading?.progress ?? {},
    }
  }

  // ---- terms ----

  #meetNewerTerm(message: RaftMessage): void {
    if (message.type === 'vote' && this.ballot.ignores(message, this.#leading !== null)) return
    // A pre-vote and its grant name a term that has not begun.
    if (message.type === 'vote' && message.isPre) this.#answerVote(message)
    else if (message.type === 'voteAnswer' && message.isPre && message.isGranted) this.#countVote(message)
    else {
      this.ballot.enter(message.term)
      this.#follow()
      this.#receive(message)
    }
  }

  /** Whoever is behind learns of the newer term: a leader would otherwise never reach a member that is ahead of it. */
  #answerOlderTerm({ type, from }: RaftMessage): void {
    if (type === 'vote' || type === 'append' || type === 'heartbeat') this.#send(from, { type: 'newerTerm' })
  }

  #receive(message: RaftMessage): void {
    this.#leading?.heard(message.from)
    switch (message.type) {
      case 'vote':
        this.#answerVote(message)
        break
      case 'voteAnswer':
        this.#countVote(message)
        break
      case 'append':
        this.#append(message)
        break
      case 'heartbeat':
        this.#heartbeat(message)
        break
      case 'appendAnswer':
        this.#leading?.appendAnswered(message.from, message.index)
        break
      case 'appendRefusal':
        this.#leading?.appendRefused(message.from, message.prevIndex, message.hint)
        break
      case 'heartbeatAnswer':
        this.#leading?.heartbeatAnswered(message.from, message.round)
        break
      case 'offerAnswer':
        this.#leading?.offerAnswered(message.from, message.index)
        break
      case 'timeoutNow':
        if (!this.#leading && this.#mayLead)
          this.#begin(new Campaign({ isPre: false, isTransfer: true, heard: [message.from] }))
        break
      case 'readIndex':
        this.#leading?.read({ from: message.from, context: message.context })
        break
      case 'readIndexAnswer':
        this.#readAnswered(message)
        break
    }
  }

  // ---- elections ----

  #begin(campaign: Campaign): void {
    const { ballot, options } = this
    this.#campaign = campaign
    this.#drawPatience()
    if (!campaign.isPre) {
      ballot.enter(ballot.term + 1)
      ballot.voteFor(options.self)
    }
    const term = campaign.isPre ? ballot.term + 1 : ballot.term
    const { isPre, isTransfer } = campaign
    for (const { id } of votersOf(this.log.members))
      if (id !== options.self)
        this.outbox.sendWhenDurable({
          from: options.self,
          to: id,
          term,
          type: 'vote',
          isPre,
          last: this.log.last,
          isTransfer,
        })
    if (isPre) this.#countVote(this.#ownVote(term, true))
    else this.outbox.sendWhenDurable(this.#ownVote(term, false))
  }

  #ownVote(term: number, isPre: boolean): Message<'voteAnswer'> {
    const { self } = this.options
    return { from: self, to: self, term, type: 'voteAnswer', isPre, isGranted: true }
  }

  #answerVote(request: VoteRequest): void {
    const { ballot, options } = this
    const isGranted = ballot.grants(request, this.log.last)
    if (isGranted && !request.isPre) {
      ballot.voteFor(request.from)
      this.#drawPatience()
    }
    this.outbox.sendWhenDurable({
      from: options.self,
      to: request.from,
      term: isGranted ? request.term : ballot.term,
      type: 'voteAnswer',
      isPre: request.isPre,
      isGranted,
    })
  }

  #countVote({ from, term, isPre, isGranted }: Message<'voteAnswer'>): void {
    const campaign = this.#campaign
    if (campaign?.isPre !== isPre) return
    if (isPre && isGranted && term !== this.ballot.term + 1) return
    campaign.answered(from, isGranted)
    const result = campaign.result(this.log.members)
    if (result === 'lost') this.#follow()
    if (result !== 'won') return
    if (isPre) this.#begin(new Campaign({ isPre: false, isTransfer: false, heard: campaign.heard }))
    else this.#lead(campaign)
  }

  #lead(campaign: Campaign): void {
    this.#campaign = null
    this.ballot.follow(this.options.self)
    this.#leading = new Leader(this, campaign.heard)
  }

  #follow(): void {
    const readers = this.#leading?.takeReaders() ?? []
    for (const reader of readers) this.#failRead(reader)
    if (this.#leading) this.ballot.forgetLeader()
    this.#leading = null
    this.#campaign = null
    this.#failReads()
    this.#drawPatience()
  }

  /** Its own removal is committed: somebody else goes on. */
  #leave(leading: Leader): void {
    const { successor } = leading
    if (successor !== null) this.#send(successor, { type: 'timeoutNow' })
    this.#follow()
  }

  /** Different members wait for different times, so that mostly one campaigns at a time. */
  #drawPatience(): void {
    const { electionTicks } = this.options.timing
    this.#elapsedTicks = 0
    this.#patienceTicks = electionTicks + this.options.random(electionTicks)
  }

  // ---- following ----

  #hear(leader: MemberId): void {
    assert(!this.#leading, 'a term has one leader')
    if (this.#campaign) this.#follow()
    this.ballot.follow(leader)
    this.#elapsedTicks = 0
  }

  #append({ from, prev, entries, commit }: Message<'append'>): void {
    this.#hear(from)
    const { log } = this
    // What is committed here is the same everywhere.
    if (prev.index < log.commit) this.#promise(from, { type: 'appendAnswer', index: log.commit })
    else if (log.has(prev) || (mutate('raft-append-without-looking') && prev.index <= log.lastIndex)) {
      const changed = log.merge(entries)
      if (changed !== null) this.outbox.entriesChanged(changed)
      const index = prev.index + entries.length
      log.commitTo(Math.min(commit, index))
      this.#promise(from, { type: 'appendAnswer', index })
    } else {
      const hint = log.newestOfTerm(prev.index, prev.term)
      this.#send(from, { type: 'appendRefusal', prevIndex: prev.index, hint })
    }
  }

  #heartbeat({ from, commit, round }: Message<'heartbeat'>): void {
    this.#hear(from)
    this.log.commitTo(commit)
    this.#send(from, { type: 'heartbeatAnswer', round })
  }

  // ---- reads ----

  #readAnswered({ context, index }: Message<'readIndexAnswer'>): void {
    const token = this.#forwarded.take(context)
    if (token !== null) this.outbox.out.reads.push({ token, index })
  }

  #failRead(reader: Reader): void {
    if ('token' in reader) this.outbox.out.readsFailed.push(reader.token)
  }

  #failReads(): void {
    this.outbox.out.readsFailed.push(...this.#forwarded.takeAll())
  }

  // ---- what leaves ----

  #send(to: MemberId, body: RaftMessageBody): void {
    this.outbox.send({ from: this.options.self, to, term: this.ballot.term, ...body })
  }

  #promise(to: MemberId, body: RaftMessageBody): void {
    this.outbox.sendWhenDurable({ from: this.options.self, to, term: this.ballot.term, ...body })
  }

  get #hardState(): HardState {
    return { term: this.ballot.term, vote: this.ballot.vote, commit: this.log.commit }
  }

  /**
   * A voter, or one that is about to leave: until that is committed, nobody else may have the entries that the others
   * need (dissertation 4.2.2).
   */
  get #mayLead(): boolean {
    const { self } = this.options
    return isVoter(this.log.members, self) || isVoter(this.log.membersBefore, self)
  }

  get #role(): RoleChange {
    return { role: this.#roleName, term: this.ballot.term, leader: this.ballot.leader }
  }

  get #roleName(): RaftRole {
    if (this.#leading) return 'leader'
    if (this.#campaign) return this.#campaign.isPre ? 'preCandidate' : 'candidate'
    return this.#mayLead ? 'follower' : 'learner'
  }

  #takeRole(): RoleChange | null {
    const now = this.#role
    const told = this.#told
    if (told && told.role === now.role && told.term === now.term && told.leader === now.leader) return null
    this.#told = now
    return now
  }
}
