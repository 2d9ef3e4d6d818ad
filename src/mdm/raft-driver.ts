import { assert } from '../base/assert.js'
import { StorageError } from '../base/errors.js'
import {
  createRaft,
  type Entry,
  type Member,
  type MemberId,
  type MemberKind,
  type Position,
  type Raft,
  type RaftMessage,
  type RaftStatus,
  type RaftWrite,
  type Recovered,
  type RoleChange,
  type SnapshotHead,
} from '../core/raft/index.js'
import type { Clock, Random, Timer } from '../ports/index.js'
import type { RaftStore } from './raft-store.js'

/** What the consensus asks of the MDM around it. */
export interface RaftHost {
  /** At once, if there is a connection; else it is lost. */
  send(message: RaftMessage): void
  /** Entries in order, each once. */
  apply(entry: Entry): void
  /** The state is what the snapshot says from now on. */
  install(head: SnapshotHead, content: Uint8Array): void
  /** To be answered by `snapshotSent`. */
  sendSnapshot(to: MemberId): void
  roleChanged(change: RoleChange): void
  /** It cannot go on: what is on the disk is not known any more. */
  broken(error: StorageError): void
}

/** Ticks in one heartbeat: the grain of all times. */
const ticksPerHeartbeat = 2
const limits = { entriesPerAppendMax: 256, appendBytesMax: 1024 * 1024, inflightMax: 16, uncommittedMax: 1024 }

interface Options {
  self: MemberId
  kind: MemberKind
  recovered: Recovered
  heartbeatMs: number
  electionMs: number
  store: RaftStore
  clock: Clock
  random: Random
  host: RaftHost
}

/**
 * Runs the consensus core: time and messages in; writes, messages and committed entries out. Whatever happens in one
 * turn of the event loop is one batch, with one write.
 */
export class RaftDriver {
  readonly #raft: Raft
  readonly #tickMs: number
  #timer: Timer | null = null
  #isDue = false
  #isRunning = false
  #isClosed = false
  /** Writes under way, in order: a later one is never durable before an earlier one. */
  #writing: { write: RaftWrite; content: Uint8Array | null }[] = []
  /** The content of the snapshot that the core is about to write. */
  #received: { head: SnapshotHead; content: Uint8Array } | null = null
  #nextRead = 1
  readonly #reads = new Map<number, { resolve(index: number): void; reject(error: StorageError): void }>()

  constructor(readonly options: Options) {
    const { self, kind, recovered, heartbeatMs, electionMs, random } = options
    this.#tickMs = heartbeatMs / ticksPerHeartbeat
    this.#raft = createRaft({
      self,
      kind,
      recovered,
      timing: { heartbeatTicks: ticksPerHeartbeat, electionTicks: Math.ceil(electionMs / this.#tickMs) },
      limits,
      random: below => random.integer(below),
      bytesOf: payload => (payload as Uint8Array | null)?.length ?? 0,
    })
  }

  get status(): RaftStatus {
    return this.#raft.status
  }
  /** Nobody else has a vote. */
  get isAlone(): boolean {
    const voters = this.#raft.status.members.filter(({ isLearner }) => !isLearner)
    return voters.length === 1 && voters[0]!.id === this.options.self
  }

  start(): void {
    if (this.isAlone) this.#raft.campaign()
    this.#tickLater()
    this.#run()
  }

  /** It stands for no election any more; it goes on to vote, and to keep the log. */
  standAside(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  standUp(): void {
    if (this.#timer === null && !this.#isClosed) this.#tickLater()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#failReads([...this.#reads.keys()])
  }

  /** A stalled process has missed ticks, and does not make up for them: it first hears what has come meanwhile. */
  #tickLater(): void {
    this.#timer = this.options.clock.setTimer(this.#tickMs, () => {
      this.#raft.tick()
      this.#runSoon()
      this.#tickLater()
    })
  }

  step(message: RaftMessage): void {
    this.#raft.step(message)
    this.#runSoon()
  }

  /** null: this is not the master, or too much is under way. */
  propose(payload: Uint8Array): Position | null {
    const position = this.#raft.propose(payload)
    this.#runSoon()
    return position
  }

  proposeMembers(members: readonly Member[]): { refused: string } | null {
    const answer = this.#raft.proposeMembers(members)
    this.#runSoon()
    return 'refused' in answer ? answer : null
  }

  transferTo(member: MemberId): boolean {
    const began = this.#raft.transferTo(member)
    this.#runSoon()
    return began
  }

  /** An index that covers everything answered before this call by any master; rejects with NOT_MASTER. */
  readIndex(): Promise<number> {
    return new Promise((resolve, reject) => {
      const token = this.#nextRead++
      this.#reads.set(token, { resolve, reject })
      if (this.#isClosed) return this.#failReads([token])
      this.#raft.readIndex(token)
      this.#run()
    })
  }

  unreachable(member: MemberId): void {
    this.#raft.unreachable(member)
    this.#runSoon()
  }

  wantsSnapshot(head: SnapshotHead): boolean {
    return this.#raft.wantsSnapshot(head)
  }
  snapshotReceived(head: SnapshotHead, content: Uint8Array): void {
    this.#received = { head, content }
    this.#raft.snapshotReceived(head)
    this.#run()
  }
  snapshotSent(to: MemberId, isReceived: boolean): void {
    this.#raft.snapshotSent(to, isReceived)
    this.#runSoon()
  }

  /** Replaces the log so far by the state. */
  compact(head: SnapshotHead, content: Uint8Array, done: () => void): void {
    this.options.store.saveSnapshot(head, content, error => {
      if (this.#isClosed) return
      if (error !== null) return this.#broken(error)
      this.#raft.compacted(head)
      done()
      this.#runSoon()
    })
  }

  #runSoon(): void {
    if (this.#isDue || this.#isClosed) return
    this.#isDue = true
    this.options.clock.endOfTurn(() => {
      this.#isDue = false
      this.#run()
    })
  }

  #run(): void {
    // What carrying out leads to is part of the same run.
    if (this.#isRunning || this.#isClosed) return
    this.#isRunning = true
    while (this.#carryOut());
    this.#isRunning = false
  }

  /** True if there was something. */
  #carryOut(): boolean {
    const { write, send, committed, reads, readsFailed, sendSnapshotTo, role } = this.#raft.takeEffects()
    const { host } = this.options
    if (write) this.#write(write)
    for (const message of send) host.send(message)
    if (role) host.roleChanged(role)
    for (const entry of committed) host.apply(entry)
    for (const { token, index } of reads) this.#takeRead(token)?.resolve(index)
    this.#failReads(readsFailed)
    for (const { to } of sendSnapshotTo) host.sendSnapshot(to)
    const some = [send, committed, reads, readsFailed, sendSnapshotTo].some(list => list.length > 0)
    return !this.#isClosed && (some || write !== null || role !== null)
  }

  #write(write: RaftWrite): void {
    const underWay = { write, content: write.snapshot && this.#contentOf(write.snapshot) }
    this.#writing.push(underWay)
    this.options.store.write(write, underWay.content, error => {
      if (this.#isClosed) return
      if (error !== null) return this.#broken(error)
      // Durable is durable together with everything before it.
      const last = this.#writing.indexOf(underWay)
      for (const { write, content } of this.#writing.splice(0, last + 1)) {
        if (write.snapshot) this.options.host.install(write.snapshot, content!)
        this.#raft.persisted(write.token)
      }
      this.#run()
    })
  }

  #contentOf({ index, term }: SnapshotHead): Uint8Array {
    const received = this.#received
    assert(
      received?.head.index === index && received.head.term === term,
      'the core writes the snapshot that it was given',
    )
    this.#received = null
    return received.content
  }

  #takeRead(token: number) {
    const read = this.#reads.get(token)
    this.#reads.delete(token)
    return read
  }

  #failReads(tokens: readonly number[]): void {
    for (const token of tokens) this.#takeRead(token)?.reject(new StorageError('NOT_MASTER'))
  }

  #broken(error: string): void {
    this.close()
    this.options.host.broken(
      new StorageError('MEDIA_ERROR', {
        detail: 'the MDM could not write its log',
        error,
        remedy: 'look at the disk of its directory; the MDM reads it again when it starts',
      }),
    )
  }
}
