import {
  createRaft,
  type Entry,
  type Member,
  type Raft,
  type RaftEffects,
  type RaftMessage,
  type RoleChange,
  type SnapshotHead,
} from '../../../src/core/raft/index.js'
import type { Random } from '../../../src/ports/random.js'
import type { RaftChecker } from './checker.js'
import { SimDisk } from './disk.js'
import type { SimNetwork } from './network.js'
import type { Timeline } from './timeline.js'

/** What members share. */
export interface World {
  timeline: Timeline
  network: SimNetwork
  random: Random
  checker: RaftChecker
  members: Map<string, SimMember>
  syncMax: number
  /** Entries that a log keeps before its snapshot, at most; null: nothing is compacted. */
  trailingMax: number | null
  entriesPerAppendMax: number
  onLeader(member: SimMember): void
  note(line: string): void
}

export const tickTime = 10
export const electionTicks = 10
const limits = { appendBytesMax: 35, inflightMax: 3, uncommittedMax: 30 }
const applyBeforeSnapshot = 25

/** A driver: carries out what the core decides, on a disk and a network that fail. */
export class SimMember {
  readonly disk: SimDisk
  raft: Raft | null = null
  /** 1: ticks come as they should; less: its clock runs fast. */
  clockRate = 1
  #life = 0
  #pausedUntil = 0
  /** What has happened while it stood still. */
  #postponed: { life: number; action: () => void }[] = []
  #state: SnapshotHead
  #role: RoleChange | null = null
  #isSnapshotting = false
  #token = 0
  readonly #proposals = new Map<number, { term: number; floor: number }>()
  readonly #reads = new Map<number, number>()
  #ready: { token: number; index: number }[] = []

  constructor(
    readonly world: World,
    readonly self: Member,
    members: readonly Member[],
  ) {
    this.disk = new SimDisk(world.timeline, world.random, members, world.syncMax)
    this.#state = this.disk.durable.state
  }

  get id(): string {
    return this.self.id
  }

  get isLeading(): boolean {
    return this.#running !== null && this.#role?.role === 'leader'
  }

  get #running(): Raft | null {
    return this.#pausedUntil > this.world.timeline.now ? null : this.raft
  }

  get appliedIndex(): number {
    return this.#state.index
  }

  // ---- its process ----

  start(): void {
    if (this.raft) return
    const life = ++this.#life
    this.#state = this.disk.durable.state
    this.#isSnapshotting = false
    this.#pausedUntil = 0
    this.#postponed = []
    this.raft = createRaft({
      self: this.id,
      kind: this.self.kind,
      recovered: this.disk.recovered(),
      timing: { electionTicks, heartbeatTicks: 2 },
      limits: { ...limits, entriesPerAppendMax: this.world.entriesPerAppendMax },
      random: below => this.world.random.integer(below),
      bytesOf: () => 10,
    })
    this.world.note(`${this.id} starts at ${JSON.stringify(this.disk.last)}`)
    this.#turn()
    this.#tick(life)
  }

  crash(): void {
    if (!this.raft) return
    this.world.note(`${this.id} crashes`)
    this.#life++
    this.raft = null
    this.disk.crash()
    this.#proposals.clear()
    this.#reads.clear()
    this.#ready = []
  }

  /** Stands still for a while, then goes on as if nothing had been. */
  pause(time: number): void {
    this.world.note(`${this.id} stands still for ${time}`)
    this.#pausedUntil = this.world.timeline.now + time
    this.world.timeline.after(time, () => this.#wake())
  }

  resume(): void {
    this.#pausedUntil = 0
    this.#wake()
  }

  #wake(): void {
    if (this.#pausedUntil > this.world.timeline.now) return
    const postponed = this.#postponed
    this.#postponed = []
    for (const { life, action } of postponed) this.#whenRunning(life, action)
  }

  #tick(life: number): void {
    if (life !== this.#life) return
    if (this.#pausedUntil <= this.world.timeline.now) {
      this.raft!.tick()
      this.#turn()
    }
    this.world.timeline.after(Math.max(1, Math.round(tickTime * this.clockRate)), () => this.#tick(life))
  }

  #whenRunning(life: number, action: () => void): void {
    if (life !== this.#life || !this.raft) return
    if (this.#running) action()
    else this.#postponed.push({ life, action })
  }

  #later(action: () => void): void {
    this.#whenRunning(this.#life, action)
  }

  receive(message: RaftMessage): void {
    if (!this.raft) return
    this.#later(() => {
      this.raft!.step(message)
      this.#turn()
    })
  }

  receiveSnapshot(head: SnapshotHead): boolean {
    const raft = this.#running
    if (!raft) return false
    raft.snapshotReceived(head)
    this.#turn()
    return true
  }

  // ---- what people ask ----

  propose(id: number): void {
    const floor = this.world.checker.seen
    const position = this.#running?.propose({ id })
    if (!position) return
    this.#proposals.set(position.index, { term: position.term, floor })
    this.#turn()
  }

  read(): void {
    const raft = this.#running
    if (!raft) return
    this.#reads.set(++this.#token, this.world.checker.seen)
    raft.readIndex(this.#token)
    this.#turn()
  }

  change(members: readonly Member[]): boolean {
    const result = this.#running?.proposeMembers(members)
    if (!result) return false
    if ('refused' in result) {
      this.world.note(`${this.id} refuses to change members: ${result.refused}`)
      return false
    }
    this.world.note(`${this.id} proposes ${members.map(({ id, isLearner }) => (isLearner ? `(${id})` : id)).join(' ')}`)
    this.#turn()
    return true
  }

  campaign(): void {
    this.#running?.campaign()
    this.#turn()
  }

  transferTo(id: string): void {
    if (this.#running?.transferTo(id)) this.world.note(`${this.id} hands over to ${id}`)
    this.#turn()
  }

  // ---- what the core decides ----

  #turn(): void {
    if (!this.raft) return
    const effects = this.raft.takeEffects()
    this.#write(effects)
    this.#noteRole(effects)
    for (const message of effects.send) this.#send(message)
    for (const { to } of effects.sendSnapshotTo) this.#sendSnapshot(to)
    for (const entry of effects.committed) this.#apply(entry)
    this.#ready.push(...effects.reads)
    for (const token of effects.readsFailed) this.#reads.delete(token)
    this.#answerReads()
    this.#compact()
  }

  #noteRole({ role }: RaftEffects): void {
    if (!role) return
    this.#role = role
    this.world.note(`${this.id} is ${role.role} in ${role.term}, leader ${role.leader}`)
    if (role.role !== 'leader') return
    this.world.checker.leads(this.id, role.term, this.disk)
    this.world.onLeader(this)
  }

  #write({ write }: RaftEffects): void {
    if (!write) return
    const { token, snapshot } = write
    this.disk.write(write, () =>
      this.#later(() => {
        this.raft!.persisted(token)
        this.#turn()
      }),
    )
    this.world.checker.wrote(this.id, write, this.disk)
    if (snapshot) this.#state = snapshot
  }

  #send(message: RaftMessage): void {
    const { network, members, random } = this.world
    const life = this.#life
    network.send(message.from, message.to, () => {
      // What is still in the buffers of a process that ends may end with it.
      if (life === this.#life || random.integer(2) === 0) members.get(message.to)?.receive(message)
    })
  }

  #sendSnapshot(to: string): void {
    const { timeline, network, members, random } = this.world
    const head = this.disk.durable.state
    this.world.note(`${this.id} sends ${to} a snapshot of ${head.index}`)
    timeline.after(5 + random.integer(60), () => {
      const isReceived = network.isOpen(this.id, to) && random.integer(4) > 0 && members.get(to)?.receiveSnapshot(head)
      this.#later(() => {
        this.raft!.snapshotSent(to, isReceived === true)
        this.#turn()
      })
    })
  }

  #apply(entry: Entry): void {
    const { index, term, members } = entry
    this.world.checker.applied(this.id, entry, this.#role!.term)
    this.#state = { index, term, members: members ?? this.#state.members }
    const proposal = this.#proposals.get(index)
    this.#proposals.delete(index)
    if (proposal?.term === term) this.world.checker.wasAcknowledged(index, proposal.floor)
  }

  #answerReads(): void {
    const left: { token: number; index: number }[] = []
    for (const read of this.#ready) {
      const floor = this.#reads.get(read.token)
      if (read.index > this.#state.index) left.push(read)
      else if (floor !== undefined) {
        this.#reads.delete(read.token)
        this.world.checker.wasRead(this.#state.index, floor, this.id)
      }
    }
    this.#ready = left
  }

  #compact(): void {
    const { trailingMax, random } = this.world
    if (trailingMax === null || this.#isSnapshotting) return
    const state = this.#state
    if (state.index < this.disk.durable.state.index + applyBeforeSnapshot) return
    const trailing = random.integer(trailingMax + 1)
    const base = this.#headAt(state.index - trailing) ?? state
    this.#isSnapshotting = true
    this.disk.compact(state, base, () =>
      this.#later(() => {
        this.#isSnapshotting = false
        this.raft!.compacted(base)
        this.#turn()
      }),
    )
  }

  /** As of an older entry, which is still in the log. */
  #headAt(index: number): SnapshotHead | null {
    const { base, entries } = this.disk.view
    if (index <= base.index) return null
    const before = entries.slice(0, index - base.index)
    const members = before.findLast(entry => entry.members)?.members ?? base.members
    return { index, term: before.at(-1)!.term, members }
  }
}
