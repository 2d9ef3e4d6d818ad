import {
  createRaft,
  type Entry,
  type Member,
  type Raft,
  type RaftLimits,
  type RaftMessage,
  type RaftWrite,
  type Recovered,
  type SnapshotHead,
} from '../../../../src/core/raft/index.js'
import { entryText, messageText, place, statusText, writeText } from './describe.js'

const electionTicks = 3
const limitsAtFirst: RaftLimits = { entriesPerAppendMax: 8, appendBytesMax: 1_000, inflightMax: 4, uncommittedMax: 100 }

const kindOf = (id: string) => (id.startsWith('t') ? 'tieBreaker' : 'manager')

/** `m1 m2 t1 (m3)`: managers begin with m, tie breakers with t, learners stand in parentheses. */
const parseMembers = (words: readonly string[]): Member[] =>
  words.map(word => {
    const id = word.replace(/[()]/g, '')
    return { id, kind: kindOf(id), isLearner: word.startsWith('(') }
  })

interface Process {
  id: string
  raft: Raft
  /** Durable. */
  disk: Recovered
  /** The driver's snapshot. */
  snapshot: SnapshotHead
  unsynced: RaftWrite[]
}

/** Members whose messages and writes move only when a script says so. Each command prints what it led to. */
export class Group {
  #limits = limitsAtFirst
  readonly #processes = new Map<string, Process>()
  #mail: RaftMessage[] = []
  #out: string[] = []
  #isQuiet = false

  run(line: string): string[] {
    const [command = '', ...words] = line.trim().split(/\s+/)
    this.#out = []
    const act = this.#commands[command]
    if (!act) return [`no such command: ${command}`]
    act(words)
    return this.#isQuiet && command !== 'log' && command !== 'status' && command !== 'mail' ? [] : this.#out
  }

  readonly #commands: Record<string, (words: string[]) => void> = {
    // What there is.
    limits: words => {
      for (const word of words) {
        const [name = '', value] = word.split('=')
        this.#limits = { ...this.#limits, [name]: Number(value) }
      }
    },
    members: words => {
      const members = parseMembers(words)
      for (const { id } of members) this.#start(id, emptyDisk(members))
    },
    start: ([id]) => this.#start(id!, emptyDisk([])),
    crash: ([id]) => {
      const process = this.#of(id!)
      process.unsynced = []
      this.#start(process.id, process.disk)
    },
    quiet: () => {
      this.#isQuiet = true
    },
    loud: () => {
      this.#isQuiet = false
    },

    // What time and people do.
    tick: ([id, count = '1']) => {
      for (let left = Number(count); left > 0; left--) this.#turn(id!, raft => raft.tick())
    },
    'tick-election': ([id]) => {
      for (let left = electionTicks; left > 0; left--) this.#turn(id!, raft => raft.tick())
    },
    campaign: ([id]) => this.#turn(id!, raft => raft.campaign()),
    propose: ([id, ...payloads]) =>
      this.#turn(id!, raft => {
        for (const payload of payloads) if (!raft.propose(payload)) this.#print(`${id}  takes no ${payload}`)
      }),
    change: ([id, ...words]) =>
      this.#turn(id!, raft => {
        const result = raft.proposeMembers(parseMembers(words))
        if ('refused' in result) this.#print(`${id}  refuses: ${result.refused}`)
      }),
    transfer: ([id, to]) =>
      this.#turn(id!, raft => {
        if (!raft.transferTo(to!)) this.#print(`${id}  does not hand over to ${to}`)
      }),
    read: ([id, token]) => this.#turn(id!, raft => raft.readIndex(Number(token))),
    unreachable: ([id, member]) => this.#turn(id!, raft => raft.unreachable(member!)),

    // What disks and the network do.
    sync: ([id, count = '100']) => this.#sync(id!, Number(count)),
    deliver: words => {
      for (const message of this.#take(words)) this.#deliver(message)
    },
    twice: words => {
      for (const message of this.#take(words)) {
        this.#deliver(message)
        this.#deliver(message)
      }
    },
    drop: words => {
      for (const message of this.#take(words)) this.#print(`lost: ${messageText(message)}`)
    },
    hold: words => {
      const held = this.#take(words)
      this.#mail.push(...held)
    },
    stabilize: words => this.#stabilize(words.length > 0 ? words : [...this.#processes.keys()]),
    /** `LEADER COUNT MEMBER…`: so many ticks of a leader that only these members hear. */
    beat: ([id, count, ...others]) => {
      for (let left = Number(count); left > 0; left--) {
        this.#turn(id!, raft => raft.tick())
        this.#stabilize([id!, ...others])
      }
      for (const { id: to } of this.#processes.values()) if (!others.includes(to)) this.#take([to])
    },
    compact: ([id, index]) => {
      const head = this.#headAt(this.#of(id!), Number(index))
      this.#of(id!).snapshot = head
      this.#turn(id!, raft => raft.compacted(head))
      dropBefore(this.#of(id!).disk, head)
    },
    'send-snapshot': ([id, to]) => {
      const { snapshot } = this.#of(id!)
      this.#print(`${to}  receives a snapshot of ${place(snapshot)}`)
      this.#turn(to!, raft => raft.snapshotReceived(snapshot))
    },
    'snapshot-sent': ([id, to, outcome]) => this.#turn(id!, raft => raft.snapshotSent(to!, outcome === 'ok')),

    // What there is to be seen.
    log: ([id]) => {
      const { disk } = this.#of(id!)
      const entries = disk.entries.map(entryText).join(', ')
      if (kindOf(id!) === 'tieBreaker') this.#print(`${id}  mark ${place(disk.mark)}`)
      else this.#print(`${id}  after ${place(disk.snapshot)}: ${entries}`)
    },
    status: ids => {
      for (const id of ids) this.#out.push(...statusText(id, this.#of(id).raft.status))
    },
    mail: () => {
      for (const message of this.#mail) this.#print(messageText(message))
    },
  }

  #start(id: string, disk: Recovered): void {
    const raft = createRaft({
      self: id,
      kind: kindOf(id),
      recovered: { ...disk, entries: [...disk.entries] },
      timing: { electionTicks, heartbeatTicks: 1 },
      limits: this.#limits,
      random: () => 0,
      bytesOf: payload => String(payload).length,
    })
    this.#processes.set(id, { id, raft, disk, snapshot: disk.snapshot, unsynced: [] })
    this.#turn(id, () => {})
  }

  #of(id: string): Process {
    const process = this.#processes.get(id)
    if (!process) throw new Error(`there is no ${id}`)
    return process
  }

  #turn(id: string, act: (raft: Raft) => void): void {
    const process = this.#of(id)
    act(process.raft)
    const { write, send, committed, reads, readsFailed, sendSnapshotTo, role } = process.raft.takeEffects()
    if (role) this.#print(`${id}  ${role.role} in term ${role.term}, leader ${role.leader ?? '-'}`)
    if (write) {
      process.unsynced.push(write)
      this.#print(`${id}  writes ${writeText(write)}`)
    }
    for (const message of send) {
      this.#mail.push(message)
      this.#print(messageText(message))
    }
    for (const { to, index } of sendSnapshotTo) this.#print(`${id}  has to send ${to} a snapshot of at least ${index}`)
    if (committed.length > 0) this.#print(`${id}  applies ${committed.map(entryText).join(', ')}`)
    for (const { token, index } of reads) this.#print(`${id}  read ${token} sees ${index}`)
    for (const token of readsFailed) this.#print(`${id}  read ${token} fails`)
  }

  #sync(id: string, count: number): void {
    const process = this.#of(id)
    for (const write of process.unsynced.splice(0, count)) {
      apply(process.disk, write)
      if (write.snapshot) process.snapshot = write.snapshot
      this.#print(`${id}  has synced ${writeText(write)}`)
      this.#turn(id, raft => raft.persisted(write.token))
    }
  }

  /** `TO [from=ID] [type=TYPE] [first=COUNT]` */
  #take([to, ...words]: string[]): RaftMessage[] {
    const wanted = Object.fromEntries(words.map(word => word.split('=')))
    let left = Number(wanted.first ?? Number.POSITIVE_INFINITY)
    const taken = this.#mail.filter(
      message =>
        message.to === to &&
        (wanted.from ?? message.from) === message.from &&
        (wanted.type ?? message.type) === message.type &&
        left-- > 0,
    )
    this.#mail = this.#mail.filter(message => !taken.includes(message))
    return taken
  }

  #deliver(message: RaftMessage): void {
    this.#turn(message.to, raft => raft.step(message))
  }

  /** Syncs and delivers among `ids` until there is nothing left to be done; mail of and for others stays. */
  #stabilize(ids: readonly string[]): void {
    for (let isBusy = true; isBusy; ) {
      isBusy = false
      for (const id of ids) {
        const mail = this.#mail.filter(({ from, to }) => to === id && ids.includes(from))
        this.#mail = this.#mail.filter(message => !mail.includes(message))
        for (const message of mail) this.#deliver(message)
        isBusy ||= mail.length > 0 || this.#of(id).unsynced.length > 0
        this.#sync(id, this.#of(id).unsynced.length)
      }
    }
  }

  #headAt({ disk }: Process, index: number): SnapshotHead {
    const before = disk.entries.filter(entry => entry.index <= index)
    const members = before.findLast(entry => entry.members)?.members ?? disk.snapshot.members
    return { index, term: before.at(-1)!.term, members }
  }

  #print(line: string): void {
    this.#out.push(line)
  }
}

const emptyDisk = (members: readonly Member[]): Recovered => ({
  hardState: { term: 0, vote: null, commit: 0 },
  snapshot: { index: 0, term: 0, members },
  entries: [],
  mark: { term: 0, index: 0 },
  appliedIndex: 0,
})

function apply(disk: Recovered, { hardState, snapshot, entries, mark, members }: RaftWrite): void {
  if (hardState) disk.hardState = hardState
  if (mark) disk.mark = mark
  if (members) disk.snapshot = { ...disk.snapshot, members }
  if (snapshot) Object.assign(disk, { snapshot, entries: [], appliedIndex: snapshot.index })
  const from: Entry | undefined = entries[0]
  if (from) disk.entries = [...disk.entries.filter(({ index }) => index < from.index), ...entries]
}

function dropBefore(disk: Recovered, head: SnapshotHead): void {
  disk.snapshot = head
  disk.entries = disk.entries.filter(({ index }) => index > head.index)
  disk.appliedIndex = head.index
}
