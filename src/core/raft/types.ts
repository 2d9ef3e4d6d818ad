/** An MDM's id. Never used again: a member on an empty disk is a new member and has a new id (design section 8). */
export type MemberId = string

/** A manager keeps log and configuration and may lead; a tie breaker keeps term, vote and mark, and never leads. */
export type MemberKind = 'manager' | 'tieBreaker'

/**
 * A learner receives the log but counts for nothing: neither votes nor majorities. Everybody joins as a learner, tie
 * breakers too, and is promoted once it is known to answer and to have caught up.
 */
export interface Member {
  id: MemberId
  kind: MemberKind
  isLearner: boolean
}

/** A place in the log. Ordered by term, then index: see `isAtLeast`. */
export interface Position {
  term: number
  index: number
}

/** One entry of the log. `payload` null and no `members`: the no-op with which a leader opens its term. */
export interface Entry {
  index: number
  term: number
  payload: unknown
  /** A membership entry: the whole new list. It counts from the moment it stands in a log, committed or not. */
  members?: readonly Member[]
}

/** `commit` is a hint that saves work after a restart; `term` and `vote` are promises. */
export interface HardState {
  term: number
  vote: MemberId | null
  commit: number
}

/** What a snapshot stands for: the log up to `index`, and the members as of there. The content is the driver's. */
export interface SnapshotHead {
  index: number
  term: number
  members: readonly Member[]
}

/** What the driver found on its disk. */
export interface Recovered {
  hardState: HardState
  /**
   * The log before `entries`. A system's first manager starts with `{ index: 0, term: 0, members: [itself] }` (or with
   * index and term 1, if its first state has to reach the others as a snapshot); whoever joins starts with
   * `{ index: 0, term: 0, members: [] }`. On a tie breaker only `members` means anything: the list it was last told.
   */
  snapshot: SnapshotHead
  entries: readonly Entry[]
  /** Tie breakers: the newest mark accepted; `{ term: 0, index: 0 }` on managers and new tie breakers. */
  mark: Position
  /** What the driver's state already contains; at least `snapshot.index`. Entries up to here are not handed out again. */
  appliedIndex: number
}

export interface RaftTiming {
  /** A member that has heard no leader for this long (up to twice as long, by chance) campaigns. */
  electionTicks: number
  /** How often a leader is heard; below half of `electionTicks`. */
  heartbeatTicks: number
}

export interface RaftLimits {
  entriesPerAppendMax: number
  /** Payload bytes in one append, as `bytesOf` counts them; a single larger entry still goes. */
  appendBytesMax: number
  /** Appends to one member that may be without an answer. */
  inflightMax: number
  /** Entries that may be without a commit; further proposals are refused. */
  uncommittedMax: number
}

export interface RaftOptions {
  self: MemberId
  kind: MemberKind
  recovered: Recovered
  timing: RaftTiming
  limits: RaftLimits
  /** A uniformly random integer, at least 0 and less than `below`. */
  random: (below: number) => number
  bytesOf: (payload: unknown) => number
}

export type RaftMessage = { from: MemberId; to: MemberId; term: number } & RaftMessageBody

export type RaftMessageBody =
  /** `last`: the candidate's newest entry. A pre-vote asks on behalf of a term that has not begun. */
  | { type: 'vote'; isPre: boolean; last: Position; isTransfer: boolean }
  | { type: 'voteAnswer'; isPre: boolean; isGranted: boolean }
  | { type: 'append'; prev: Position; entries: readonly Entry[]; commit: number }
  /** Everything up to `index` is durable there, and is what the leader of this term has. */
  | { type: 'appendAnswer'; index: number }
  /** `prevIndex` was not found; `hint` is the newest place where the logs may still agree. */
  | { type: 'appendRefusal'; prevIndex: number; hint: Position }
  /** `round` counts the leader's rounds of its term; `members` goes to tie breakers, null to managers. */
  | { type: 'heartbeat'; commit: number; round: number; members: readonly Member[] | null }
  | { type: 'heartbeatAnswer'; round: number }
  /** To tie breakers: the newest entry that all full members which answer have; always of the leader's own term. */
  | { type: 'offer'; index: number }
  /** The mark is durable there, and is at least `index` in this term. */
  | { type: 'offerAnswer'; index: number }
  /** The answer to a leader or candidate of an older term; carries nothing but the term. */
  | { type: 'newerTerm' }
  /** A leader hands over: campaign at once. */
  | { type: 'timeoutNow' }
  | { type: 'readIndex'; context: number }
  | { type: 'readIndexAnswer'; context: number; index: number }

/** To be made durable as one, in the order of tokens; then `persisted(token)`. */
export interface RaftWrite {
  token: number
  hardState: HardState | null
  /** Takes the place of the whole log and of the driver's state; its content is what `snapshotReceived` announced. */
  snapshot: SnapshotHead | null
  /** Replaces everything from `entries[0].index` on. After `snapshot`, if both are there. */
  entries: readonly Entry[]
  /** Tie breakers. */
  mark: Position | null
  members: readonly Member[] | null
}

export type RaftRole = 'follower' | 'preCandidate' | 'candidate' | 'leader' | 'witness' | 'learner'

/** `learner`: no voter by the list it knows, be it a learner, not yet a member, or removed. */
export interface RoleChange {
  role: RaftRole
  term: number
  leader: MemberId | null
}

/** What one turn has led to. The order of the lists is the order of events. */
export interface RaftEffects {
  write: RaftWrite | null
  /** May leave at once, before `write` is durable. What depends on a write comes after its `persisted`. */
  send: RaftMessage[]
  /** To be applied, in order; each is durable here, and comes once. */
  committed: Entry[]
  /** A read is linearizable once everything up to `index` is applied. */
  reads: { token: number; index: number }[]
  /** There is no leader, or none that answers: ask again. */
  readsFailed: number[]
  /** Send `to` a snapshot of at least `index`, then report `snapshotSent`; meanwhile do not compact beyond it. */
  sendSnapshotTo: { to: MemberId; index: number }[]
  role: RoleChange | null
}

export interface MemberProgress {
  /** Everything up to here is durable there. */
  match: number
  state: 'probe' | 'replicate' | 'snapshot'
  /** Heard within the last `electionTicks`. */
  isActive: boolean
  /** A manager that answers, and has all that tie breakers were offered: without the leader it could go on with them. */
  isInStep: boolean
}

export interface RaftStatus extends RoleChange {
  commit: number
  lastIndex: number
  /** The newest list in the log, committed or not. */
  members: readonly Member[]
  /** False while a change of the members is under way. */
  areMembersCommitted: boolean
  /** A leader's view of the others; empty on everybody else. */
  progress: Readonly<Record<MemberId, MemberProgress>>
}

/** One member's part in the consensus: messages and ticks in, effects out. See docs/CONSENSUS.md. */
export interface Raft {
  tick(): void
  step(message: RaftMessage): void
  /** Null: not the leader, or handing over, or too much is without a commit. A place in the log is no promise yet. */
  propose(payload: unknown): Position | null
  /**
   * Adds (as a learner), promotes, demotes or removes one member. Refused, with a sentence that says why, unless the
   * member to be promoted has caught up and a majority of the new voters answers. `payload` rides in the same entry.
   */
  proposeMembers(members: readonly Member[], payload?: unknown): Position | { refused: string }
  /** Answered by `reads` or `readsFailed` with this token. */
  readIndex(token: number): void
  /** Begins to hand over to a full member; false: it is none, or this is not the leader. Given up after `electionTicks`. */
  transferTo(member: MemberId): boolean
  /** Campaigns now, as if no leader had been heard for long. */
  campaign(): void
  persisted(token: number): void
  /** Whether a snapshot with this head would be of use here; asked before its content is received. */
  wantsSnapshot(head: SnapshotHead): boolean
  /** The whole content is here. If it is still wanted, a `write` with `snapshot` follows. */
  snapshotReceived(head: SnapshotHead): void
  snapshotSent(to: MemberId, isReceived: boolean): void
  /** Messages to this member are being lost, e.g. its connection has ended. */
  unreachable(member: MemberId): void
  /** The driver's snapshot now stands for the log up to `head.index`, which has been applied. */
  compacted(head: SnapshotHead): void
  /** What has happened since the last call. Call it after each turn of ticks, messages and proposals. */
  takeEffects(): RaftEffects
  readonly status: RaftStatus
}
