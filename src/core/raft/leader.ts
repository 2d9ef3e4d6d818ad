import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import type { RaftCore } from './core.js'
import { fullVotersOf, isVoter, memberChange, votersOf } from './membership.js'
import { Peer } from './peer.js'
import { majorityReached, quorumOf } from './quorum.js'
import { PendingReads, type Reader } from './reads.js'
import type { Entry, Member, MemberId, MemberProgress, Position, RaftMessageBody } from './types.js'

/** A term in which this member leads. What it sends is decided in `flush`, once per turn. */
export class Leader {
  readonly #core: RaftCore
  readonly #peers = new Map<MemberId, Peer>()
  /** The no-op that opens the term: only from there on do majorities commit (dissertation 3.6.2). */
  readonly #firstIndex: number
  readonly #reads = new PendingReads()
  /** Reads that came before anything of this term was committed. */
  #earlyReaders: Reader[] = []
  /** Counts the heartbeats to everybody; an answer to a round shows who was leader when it began. */
  #round = 0
  #isRoundWanted = true
  /** Tie breakers are offered nothing until they have answered this round: see `#offer`. */
  #offerRound = 1
  #inStep: readonly MemberId[] = []
  #ticks = 0
  #transfer: { to: MemberId; ticks: number; isTold: boolean } | null = null

  /** `heard`: who answered while this member campaigned. */
  constructor(core: RaftCore, heard: ReadonlySet<MemberId>) {
    this.#core = core
    this.#firstIndex = core.log.lastIndex + 1
    const { electionTicks, heartbeatTicks } = core.options.timing
    for (const member of this.#others)
      this.#addPeer(
        member,
        heard.has(member.id)
          ? { silentTicks: 0, patience: electionTicks }
          : { silentTicks: electionTicks, patience: Math.min(2 * heartbeatTicks, electionTicks) },
      )
    this.#inStep = this.#fullInStep().map(({ id }) => id)
    this.#append({ payload: null })
  }

  get progress(): Record<MemberId, MemberProgress> {
    return Object.fromEntries([...this.#peers].map(([id, peer]) => [id, peer.status]))
  }

  /** Its own removal is committed. */
  get hasLeft(): boolean {
    return this.#core.log.areMembersCommitted && !isVoter(this.#members, this.#self)
  }

  /** Who is best suited to lead next. */
  get successor(): MemberId | null {
    const candidates = this.#fullInStep().filter(({ id }) => id !== this.#self)
    candidates.sort((a, b) => this.#matchOf(b.id) - this.#matchOf(a.id))
    return candidates[0]?.id ?? null
  }

  // ---- what the driver asks ----

  propose(payload: unknown): Position | null {
    if (this.#transfer || this.#isWindowFull) return null
    return this.#append({ payload })
  }

  proposeMembers(members: readonly Member[], payload: unknown): Position | { refused: string } {
    const refused = this.#refusal(members)
    if (refused !== null) return { refused }
    const position = this.#append({ payload, members })
    this.#syncPeers()
    return position
  }

  read(reader: Reader): void {
    const { log } = this.#core
    if (log.commit < this.#firstIndex && !mutate('raft-read-before-the-own-term')) {
      this.#earlyReaders.push(reader)
      return
    }
    this.#reads.add({ reader, index: log.commit, round: this.#round + 1 })
    this.#isRoundWanted = true
  }

  transferTo(id: MemberId): boolean {
    if (id === this.#self || !fullVotersOf(this.#members).some(member => member.id === id)) return false
    if (this.#transfer?.to !== id) this.#transfer = { to: id, ticks: 0, isTold: false }
    return true
  }

  unreachable(id: MemberId): void {
    const progress = this.#peers.get(id)?.progress
    if (progress?.state === 'replicate') progress.becomeProbe(progress.match + 1)
  }

  snapshotSent(to: MemberId, isReceived: boolean): void {
    const progress = this.#peers.get(to)?.progress
    if (progress?.state !== 'snapshot') return
    progress.becomeProbe(isReceived ? this.#core.log.base.index + 1 : 0)
    progress.pause()
  }

  // ---- time ----

  /** False: a majority has not been heard for too long, or the own disk does not answer. */
  tick(): boolean {
    const { electionTicks, heartbeatTicks } = this.#core.options.timing
    this.#ticks++
    for (const peer of this.#peers.values()) {
      peer.silentTicks++
      peer.standing.tick()
    }
    if (this.#transfer && ++this.#transfer.ticks >= electionTicks) this.#transfer = null
    if (this.#ticks % heartbeatTicks === 0) this.#isRoundWanted = true
    return this.#ticks < electionTicks || this.#answering(this.#members) >= quorumOf(votersOf(this.#members).length)
  }

  // ---- answers ----

  heard(from: MemberId): void {
    const peer = this.#peers.get(from)
    if (peer) peer.silentTicks = 0
  }

  heartbeatAnswered(from: MemberId, round: number): void {
    const peer = this.#peers.get(from)
    if (!peer) return
    const { progress, standing } = peer
    peer.round = Math.max(peer.round, round)
    peer.offered = progress.match
    progress.resume()
    if (progress.match < this.#core.log.lastIndex) peer.isNudged = true
    else standing.gotOn(0)
    if (this.#transfer?.to === from) this.#transfer.isTold = false
  }

  appendAnswered(from: MemberId, index: number): void {
    const peer = this.#peers.get(from)
    if (!peer) return
    const { progress, standing } = peer
    const { log } = this.#core
    assert(index <= log.lastIndex, 'nobody acknowledges what was not sent')
    const isNew = progress.accepted(index)
    if (progress.state === 'probe' || (progress.state === 'snapshot' && progress.match >= log.base.index))
      progress.becomeReplicate()
    if (progress.state === 'replicate' && (isNew || progress.match === log.lastIndex))
      standing.gotOn(Math.max(log.commit, this.#firstIndex - 1) - progress.match)
  }

  appendRefused(from: MemberId, prevIndex: number, hint: Position): void {
    const progress = this.#peers.get(from)?.progress
    progress?.refused(prevIndex, this.#core.log.newestOfTerm(hint.index, hint.term).index)
  }

  offerAnswered(from: MemberId, index: number): void {
    this.#peers.get(from)?.progress.accepted(index)
  }

  // ---- the end of a turn ----

  /** Commits what can be, and sends what is due. */
  flush(): void {
    this.#noteSteps()
    this.#commit()
    this.#beginRound()
    this.#confirmReads()
    // Nothing of others is replaced for this term before the term has something durable of its own: so whatever a
    // tie breaker's mark says, some full member's log is at least as new.
    if (this.#core.log.stable >= this.#firstIndex)
      for (const peer of this.#peers.values()) if (peer.member.kind === 'manager') this.#replicate(peer)
    this.#offer()
    this.#handOver()
  }

  /** Who asked for reads that are not answered. */
  takeReaders(): Reader[] {
    const readers = [...this.#earlyReaders, ...this.#reads.takeAll().map(({ reader }) => reader)]
    this.#earlyReaders = []
    return readers
  }

  /** A full member that falls out of step must not be the leader's own mistake: ask the tie breakers anew. */
  #noteSteps(): void {
    const now = this.#fullInStep().map(({ id }) => id)
    const full = fullVotersOf(this.#members)
    if (this.#inStep.some(id => !now.includes(id) && full.some(member => member.id === id))) {
      this.#offerRound = this.#round + 1
      this.#isRoundWanted = true
    }
    this.#inStep = now
  }

  /** An entry commits when a majority has it and every full member that still answers, this one included. */
  #commit(): void {
    const { log, ballot } = this.#core
    const inStep = this.#fullInStep()
    // While this member leaves, and of those that stay no full one answers.
    if (inStep.length === 0) return
    const voters = mutate('raft-count-learners') ? this.#members : votersOf(this.#members)
    const matches = voters.map(({ id }) => this.#matchOf(id))
    const majority = majorityReached(matches)
    const index = Math.min(majority, ...inStep.map(({ id }) => this.#matchOf(id)))
    // An entry of an older term may be on a majority and yet be replaced (dissertation, figure 3.7).
    if (index <= log.commit || (log.termAt(index) !== ballot.term && !mutate('raft-commit-an-older-term'))) return
    log.commitTo(index)
    const early = this.#earlyReaders
    this.#earlyReaders = []
    for (const reader of early) this.read(reader)
  }

  #beginRound(): void {
    if (!this.#isRoundWanted) return
    this.#isRoundWanted = false
    this.#round++
    const { log } = this.#core
    for (const { member, progress } of this.#peers.values()) {
      const isManager = member.kind === 'manager'
      this.#send(member.id, {
        type: 'heartbeat',
        // Beyond `match` the member may have other entries than the leader.
        commit: isManager
          ? Math.min(log.commit, mutate('raft-commit-what-may-differ') ? log.commit : progress.match)
          : 0,
        round: this.#round,
        members: isManager ? null : this.#members,
      })
    }
  }

  #confirmReads(): void {
    const rounds = votersOf(this.#members).map(({ id }) =>
      id === this.#self ? this.#round : (this.#peers.get(id)?.round ?? 0),
    )
    const { outbox } = this.#core
    for (const { reader, index } of this.#reads.takeConfirmed(
      mutate('raft-read-without-a-round') ? this.#round : majorityReached(rounds),
    ))
      if ('token' in reader) outbox.out.reads.push({ token: reader.token, index })
      else this.#send(reader.from, { type: 'readIndexAnswer', context: reader.context, index })
  }

  #replicate(peer: Peer): void {
    const { progress } = peer
    const { log } = this.#core
    const isNudged = peer.isNudged
    peer.isNudged = false
    if (progress.state === 'probe' && !progress.isPaused) this.#sendAppend(peer)
    if (progress.state !== 'replicate') return
    const isBehind = progress.next <= log.lastIndex
    while (progress.state === 'replicate' && !progress.isFull && progress.next <= log.lastIndex) this.#sendAppend(peer)
    if (progress.state !== 'replicate') return
    // With nothing new to send, an empty append shows whether what was sent has arrived, and passes the commit on.
    const tellsCommit = progress.sentCommit < log.commit && !progress.isFull
    if (tellsCommit || (isNudged && (progress.isFull || !isBehind))) this.#sendAppend(peer, 0)
  }

  #sendAppend(peer: Peer, countMax = this.#core.options.limits.entriesPerAppendMax): void {
    const { log, options, outbox } = this.#core
    const { progress, member } = peer
    const prevIndex = progress.next - 1
    const prevTerm = log.termAt(prevIndex)
    if (prevTerm === null) {
      if (!peer.isActive) return
      progress.becomeSnapshot()
      peer.standing.leave()
      outbox.out.sendSnapshotTo.push({ to: member.id, index: log.base.index })
      return
    }
    const entries = log.slice(progress.next, countMax, options.limits.appendBytesMax, options.bytesOf)
    this.#send(member.id, { type: 'append', prev: { index: prevIndex, term: prevTerm }, entries, commit: log.commit })
    progress.sent(entries.length)
    progress.sentCommit = log.commit
  }

  /**
   * Offers tie breakers what every full member in step has durably, while those alone are no majority. If one that was in
   * step is silent, the tie breakers first answer a round begun since: it may be this leader who hears nobody, and then
   * the newest entry would be here and with a tie breaker only, although nobody else has failed.
   */
  #offer(): void {
    const voters = votersOf(this.#members)
    const inStep = this.#fullInStep()
    const quorum = quorumOf(voters.length)
    if (inStep.length === 0 || (inStep.length >= quorum && !mutate('raft-offer-the-witness-first'))) return
    const full = mutate('raft-offer-the-witness-first') ? [this.#core.options.self] : inStep.map(({ id }) => id)
    const index = Math.min(...full.map(id => this.#matchOf(id)))
    if (index < this.#firstIndex) return
    const witnesses = voters.filter(member => member.kind === 'tieBreaker').map(({ id }) => this.#peers.get(id)!)
    const ready = witnesses.filter(
      peer => peer.isActive && (peer.round >= this.#offerRound || mutate('raft-offer-without-a-round')),
    )
    if (inStep.length + ready.length < quorum) return
    for (const peer of ready) {
      if (index <= peer.progress.match || index <= peer.offered) continue
      peer.offered = index
      this.#send(peer.member.id, { type: 'offer', index })
    }
  }

  #handOver(): void {
    if (!this.#transfer || this.#transfer.isTold) return
    const { log } = this.#core
    if (this.#matchOf(this.#transfer.to) < log.lastIndex) return
    this.#transfer.isTold = true
    this.#send(this.#transfer.to, { type: 'timeoutNow' })
  }

  // ---- members ----

  #refusal(members: readonly Member[]): string | null {
    const { log } = this.#core
    if (this.#transfer) return 'the leadership is being handed over; try again'
    if (this.#isWindowFull) return 'too many changes wait to be committed; try again'
    if (!log.areMembersCommitted && !mutate('raft-change-members-twice-at-once'))
      return 'another change of the members is under way; try again when it is committed'
    if (log.commit < this.#firstIndex && !mutate('raft-change-members-before-the-own-term'))
      return 'nothing of this term is committed yet; try again'
    const change = memberChange(this.#members, members)
    if ('refused' in change) return change.refused
    if (change.kind === 'promote' && !this.#hasCaughtUp(change.member))
      return `${change.member.id} does not answer or has not caught up yet`
    if (!fullVotersOf(members).some(({ id }) => this.#fullInStep().some(member => member.id === id)))
      return 'no manager that has caught up would be left that votes'
    if (this.#answering(members) < quorumOf(votersOf(members).length))
      return 'a majority of the new voters does not answer'
    return null
  }

  #hasCaughtUp({ id, kind }: Member): boolean {
    const peer = this.#peers.get(id)
    return peer?.isActive === true && (kind === 'tieBreaker' || peer.standing.isInStep)
  }

  #syncPeers(): void {
    for (const member of this.#others) {
      const peer = this.#peers.get(member.id)
      if (peer) peer.member = member
      else this.#addPeer(member, { silentTicks: this.#core.options.timing.electionTicks, patience: 0 })
    }
    for (const id of this.#peers.keys()) if (!this.#members.some(member => member.id === id)) this.#peers.delete(id)
    this.#isRoundWanted = true
  }

  #addPeer(member: Member, from: { silentTicks: number; patience: number }): void {
    this.#peers.set(member.id, new Peer(member, this.#core.log.lastIndex + 1, this.#core.options, from))
  }

  /** How many of the voters are heard, this member included. */
  #answering(members: readonly Member[]): number {
    return votersOf(members).filter(({ id }) => id === this.#self || this.#peers.get(id)?.isActive).length
  }

  #fullInStep(): Member[] {
    return fullVotersOf(this.#members).filter(({ id }) => id === this.#self || this.#peers.get(id)!.standing.isInStep)
  }

  /** What is durable there: of a leader's own entries, too, only what its disk has. */
  #matchOf(id: MemberId): number {
    if (id === this.#self && mutate('raft-count-the-own-unsynced-write')) return this.#core.log.lastIndex
    return id === this.#self ? this.#core.log.stable : (this.#peers.get(id)?.progress.match ?? 0)
  }

  get #members(): readonly Member[] {
    return this.#core.log.members
  }

  get #others(): Member[] {
    return this.#members.filter(({ id }) => id !== this.#self)
  }

  get #self(): MemberId {
    return this.#core.options.self
  }

  get #isWindowFull(): boolean {
    const { log, options } = this.#core
    return log.lastIndex - log.commit >= options.limits.uncommittedMax
  }

  #append(content: Pick<Entry, 'payload' | 'members'>): Position {
    const { log, ballot, outbox } = this.#core
    const position = { index: log.lastIndex + 1, term: ballot.term }
    log.append({ ...position, ...content })
    outbox.entriesChanged(position.index)
    return position
  }

  #send(to: MemberId, body: RaftMessageBody): void {
    const { options, ballot, outbox } = this.#core
    outbox.send({ from: options.self, to, term: ballot.term, ...body })
  }
}
