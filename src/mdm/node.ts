import { StorageError } from '../base/errors.js'
import type { MdmId } from '../base/ids.js'
import type { MdmConfig } from '../config/mdm.js'
import type { Outcome } from '../core/mdm/index.js'
import type { Entry, MemberId, RaftMessage, Recovered, RoleChange, SnapshotHead } from '../core/raft/index.js'
import type { MapDelta } from '../model/index.js'
import type { Ports } from '../ports/index.js'
import { RaftDriver } from './raft-driver.js'
import type { Identity, RaftStore } from './raft-store.js'
import { type Applied, Replica } from './replica.js'

/** What the MDM around a node does for it. */
export interface NodeOwner {
  send(message: RaftMessage): void
  /** Sends the state as it is, in pieces; answered by `snapshotSent`. */
  sendSnapshot(to: MemberId): void
  /** An entry is applied, or a snapshot is installed. */
  applied(delta: MapDelta | null): void
  /** This MDM is master, and has everything that any master before it has answered; or it is no longer. */
  becameMaster(): void
  lostMaster(): void
  roleChanged(change: RoleChange): void
  broken(error: StorageError): void
}

interface Waiting {
  term: number
  resolve(outcome: Outcome): void
  reject(error: StorageError): void
}

/** One MDM's part in its cluster: the consensus, and for a manager the state that it leads to. */
export class Node {
  readonly driver: RaftDriver
  /** null: a tie breaker. */
  readonly replica: Replica | null
  #role: RoleChange = { role: 'follower', term: 0, leader: null }
  #isMaster = false
  /** Why it applies nothing more: its state is not what the master's is. */
  failure: string | null = null
  /** By index: proposals that are not applied yet. */
  readonly #waiting = new Map<number, Waiting>()
  #snapshotsUnderWay = 0
  #isCompacting = false

  constructor(
    readonly identity: Identity,
    recovered: Recovered,
    readonly store: RaftStore,
    readonly config: Pick<MdmConfig, 'heartbeatMs' | 'electionMs' | 'logEntriesMax'>,
    readonly ports: Ports,
    readonly owner: NodeOwner,
  ) {
    this.replica = identity.kind === 'manager' ? new Replica() : null
    this.replica?.install(store.snapshotContent, recovered.snapshot)
    this.driver = new RaftDriver({
      self: identity.id,
      kind: identity.kind,
      recovered,
      heartbeatMs: config.heartbeatMs,
      electionMs: config.electionMs,
      store,
      clock: ports.clock,
      random: ports.random,
      host: {
        send: message => owner.send(message),
        apply: entry => this.#apply(entry),
        install: (head, content) => this.#install(head, content),
        sendSnapshot: to => {
          this.#snapshotsUnderWay++
          owner.sendSnapshot(to)
        },
        roleChanged: change => this.#roleChanged(change),
        broken: error => owner.broken(error),
      },
    })
    store.onTrouble = error => this.#cannotWrite(error)
  }

  start(): void {
    this.driver.start()
  }

  get role(): RoleChange {
    return this.#role
  }
  get isMaster(): boolean {
    return this.#isMaster
  }
  /** The newest entry that is applied, or that a tie breaker has accepted. */
  get index(): number {
    return this.replica?.appliedIndex ?? this.driver.status.lastIndex
  }

  /** Resolves with what the command has led to. Rejects with NOT_MASTER where that is not known, or it is not done. */
  propose(payload: Uint8Array): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const { trouble } = this.store
      if (trouble !== null)
        return reject(
          new StorageError('INTERNAL', {
            detail: 'the MDM cannot write its log',
            error: trouble,
            remedy: 'look at the disk of its directory; it goes on by itself',
          }),
        )
      const position = this.#isMaster ? this.driver.propose(payload) : null
      if (position === null) return reject(new StorageError('NOT_MASTER'))
      this.#waiting.set(position.index, { term: position.term, resolve, reject })
    })
  }

  /** Resolves when everything is applied that any master has answered before; rejects with NOT_MASTER. */
  async barrier(): Promise<void> {
    const index = await this.driver.readIndex()
    // What is committed here is applied in the same turn.
    if (!this.#isMaster || this.index < index) throw new StorageError('NOT_MASTER')
  }

  /** The disk takes nothing more: what waits goes on waiting, and another member is asked to be master. */
  #cannotWrite(error: string): void {
    this.ports.log.error('mdm.cannotWrite', { error })
    if (this.#isMaster) this.#handOver()
  }

  /** Its effects differ from the master's: what it says is worth nothing. */
  diverged(failure: string): void {
    if (this.failure !== null) return
    this.failure = failure
    this.ports.log.error('mdm.diverged', { index: this.index, failure })
    this.driver.standAside()
  }

  /** A snapshot that was asked for has arrived, or could not be sent. */
  snapshotSent(to: MdmId, isReceived: boolean): void {
    this.#snapshotsUnderWay--
    this.driver.snapshotSent(to, isReceived)
  }

  /** The state as it is now, with its place in the log. */
  snapshot(): { head: SnapshotHead; content: Uint8Array } {
    const { appliedIndex, appliedTerm, members } = this.replica!
    return { head: { index: appliedIndex, term: appliedTerm, members }, content: this.replica!.content() }
  }

  close(): void {
    this.driver.close()
    this.#forgetWaiting()
    this.#isMaster = false
  }

  #apply(entry: Entry): void {
    if (this.failure !== null || this.replica === null) return
    const applied = this.replica.apply(entry)
    this.ports.log.debug('mdm.applied', { index: entry.index, term: entry.term, digest: this.replica.digest })
    this.owner.applied(applied.delta)
    this.#answer(entry, applied)
    if (this.#role.role === 'leader' && entry.term === this.#role.term) this.#becomeMaster()
    this.#compactIfDue()
  }

  #answer({ index, term }: Entry, { outcome }: Applied): void {
    const waiting = this.#waiting.get(index)
    if (!waiting) return
    this.#waiting.delete(index)
    if (waiting.term === term && outcome !== null) waiting.resolve(outcome)
    // Another master's entry stands in its place.
    else waiting.reject(new StorageError('NOT_MASTER'))
  }

  #install(head: SnapshotHead, content: Uint8Array): void {
    this.replica!.install(content, head)
    this.failure = null
    this.ports.log.info('mdm.snapshotInstalled', { index: head.index, bytes: content.length })
    this.owner.applied(null)
  }

  #roleChanged(change: RoleChange): void {
    const was = this.#role
    this.#role = change
    if (this.#isMaster && (change.role !== 'leader' || change.term !== was.term)) this.#loseMaster()
    if (change.role === 'leader' && this.failure !== null) this.#handOver()
    this.owner.roleChanged(change)
  }

  #becomeMaster(): void {
    if (this.#isMaster) return
    this.#isMaster = true
    this.owner.becameMaster()
  }

  #loseMaster(): void {
    this.#isMaster = false
    this.#forgetWaiting()
    this.owner.lostMaster()
  }

  /** Whether they come to be committed, others decide. */
  #forgetWaiting(): void {
    const detail = 'this MDM is no longer master; whether the change was made, the new master knows'
    for (const { reject } of this.#waiting.values()) reject(new StorageError('NOT_MASTER', { detail }))
    this.#waiting.clear()
  }

  #handOver(): void {
    const { members } = this.driver.status
    const others = members.filter(
      ({ id, kind, isLearner }) => kind === 'manager' && !isLearner && id !== this.identity.id,
    )
    for (const { id } of others) if (this.driver.transferTo(id)) return
  }

  #compactIfDue(): void {
    // Who receives a snapshot now goes on from there with the log.
    if (this.replica!.weight < this.config.logEntriesMax || this.#snapshotsUnderWay > 0 || this.#isCompacting) return
    this.replica!.weight = 0
    const { head, content } = this.snapshot()
    this.#isCompacting = true
    this.driver.compact(head, content, () => {
      this.ports.log.debug('mdm.compacted', { index: head.index, bytes: content.length })
      this.#isCompacting = false
    })
  }
}
