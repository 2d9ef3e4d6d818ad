import type { MdmId, SystemId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import type { Entry, HardState, Member, Position, RaftWrite, Recovered, SnapshotHead } from '../core/raft/index.js'
import type { MdmKind } from '../model/index.js'
import type { Clock, MetaStore, MetaWrite, Ports } from '../ports/index.js'
import { checkNext } from './log-hole.js'
import { checkFormat, formatVersion, upgraded } from './raft-format.js'

/** Who this MDM is: given to it when it is attached, or by itself when it creates the system. */
export interface Identity {
  systemId: SystemId
  id: MdmId
  kind: MdmKind
}

interface StoredEntry {
  term: number
  payload: unknown
  members?: readonly Member[]
}

/** A snapshot as it is kept and sent. */
export interface StoredSnapshot {
  head: SnapshotHead
  content: Uint8Array
}

type Done = (error: string | null) => void

const againMs = 500

/**
 * What an MDM keeps: `format`, `identity`, `hard` (term and vote), `snapshot`, `log` + index (what follows it); a tie
 * breaker `mark` and `members` instead of the last two. Each write is one commit, so that a power loss leaves some
 * prefix of them.
 */
export class RaftStore {
  #identity: Identity | null
  #lastIndex: number
  /** The newest entry of which a drop may be under way, so that nothing is dropped twice. */
  #firstIndex: number
  /** Writes that are not visible yet, the first of them under way: so that a later one never stands without an earlier. */
  readonly #queue: { writes: MetaWrite[]; done: Done }[] = []
  #isClosed = false
  /** Why nothing can be written now; it is tried again and again. */
  trouble: string | null = null
  onTrouble: (error: string) => void = () => {}

  private constructor(
    readonly meta: MetaStore,
    readonly clock: Clock,
    readonly recovered: Recovered | null,
  ) {
    this.#identity = (meta.get(['identity']) as Identity | undefined) ?? null
    this.#firstIndex = (recovered?.snapshot.index ?? 0) + 1
    this.#lastIndex = recovered?.entries.at(-1)?.index ?? this.#firstIndex - 1
  }

  /** Opens the directory; what an older release left there is brought to today's form first. */
  static async open({ metaStores, clock }: Pick<Ports, 'metaStores' | 'clock'>, directory: string): Promise<RaftStore> {
    const meta = await metaStores.open(directory)
    try {
      const format = checkFormat(meta.get(['format']), directory)
      if (format !== null && format < formatVersion) await commit(meta, upgraded(meta, directory))
      return new RaftStore(meta, clock, recover(meta, directory))
    } catch (error) {
      await meta.close()
      throw error
    }
  }

  /** null: this MDM belongs to no system yet. */
  get identity(): Identity | null {
    return this.#identity
  }

  /** Entries of the log that are on the disk, or on their way there. */
  get entryCount(): number {
    return this.#lastIndex - this.#firstIndex + 1
  }

  get snapshotContent(): Uint8Array | null {
    return (this.meta.get(['snapshot']) as StoredSnapshot | undefined)?.content ?? null
  }

  /** Takes on an identity, in an empty directory: `members` are those that the consensus begins with. */
  async begin(identity: Identity, members: readonly Member[]): Promise<Recovered> {
    const head: SnapshotHead = { index: 0, term: 0, members }
    const writes: MetaWrite[] = [
      { put: ['format'], value: formatVersion },
      { put: ['identity'], value: identity },
      { put: ['snapshot'], value: { head, content: null } },
    ]
    await commit(this.meta, writes)
    this.#identity = identity
    return recover(this.meta, '')!
  }

  /** Forgets everything. */
  async clear(): Promise<void> {
    const writes: MetaWrite[] = []
    for (const { key } of this.meta.range([])) writes.push({ drop: key })
    await commit(this.meta, writes)
    this.#identity = null
    this.#firstIndex = 1
    this.#lastIndex = 0
  }

  /** Carries out a write of the consensus; `done` when it is durable. `content` goes with a snapshot. */
  write({ hardState, snapshot, entries, mark, members }: RaftWrite, content: Uint8Array | null, done: Done): void {
    const writes: MetaWrite[] = []
    if (hardState) writes.push({ put: ['hard'], value: hardState })
    if (mark) writes.push({ put: ['mark'], value: mark })
    if (members) writes.push({ put: ['members'], value: members })
    if (snapshot) {
      writes.push({ put: ['snapshot'], value: { head: snapshot, content } })
      this.#dropFrom(this.#firstIndex, writes)
      this.#firstIndex = snapshot.index + 1
      this.#lastIndex = snapshot.index
    }
    const first = entries[0]
    if (first) {
      this.#dropFrom(entries.at(-1)!.index + 1, writes)
      for (const entry of entries) writes.push({ put: ['log', entry.index], value: stored(entry) })
      this.#lastIndex = entries.at(-1)!.index
    }
    this.#commit(writes, done)
  }

  /** Replaces the log up to `head.index` by what it has led to. */
  saveSnapshot(head: SnapshotHead, content: Uint8Array, done: Done): void {
    const writes: MetaWrite[] = [{ put: ['snapshot'], value: { head, content } }]
    for (let index = this.#firstIndex; index <= head.index; index++) writes.push({ drop: ['log', index] })
    this.#firstIndex = head.index + 1
    this.#commit(writes, done)
  }

  close(): Promise<void> {
    this.#isClosed = true
    return this.meta.close()
  }

  #dropFrom(index: number, writes: MetaWrite[]): void {
    for (let at = index; at <= this.#lastIndex; at++) writes.push({ drop: ['log', at] })
  }

  #commit(writes: MetaWrite[], done: Done): void {
    this.#queue.push({ writes, done })
    if (this.#queue.length === 1) this.#issue()
  }

  #issue(): void {
    const { writes, done } = this.#queue[0]!
    this.meta.commit(writes, error => {
      if (this.#isClosed) return
      if (error !== null) return this.#tryAgain(error)
      this.trouble = null
      this.#queue.shift()
      if (mutate('mdm-skip-the-sync-of-the-log')) done(null)
      else this.meta.flush(done)
      if (this.#queue.length > 0) this.#issue()
    })
  }

  /** Nothing of it was written: as long as the disk is full, say, everything waits. */
  #tryAgain(error: string): void {
    if (this.trouble === null) this.onTrouble(error)
    this.trouble = error
    this.clock.setTimer(againMs, () => {
      if (!this.#isClosed) this.#issue()
    })
  }
}

const stored = ({ term, payload, members }: Entry): StoredEntry =>
  members ? { term, payload, members } : { term, payload }

function recover(meta: MetaStore, directory: string): Recovered | null {
  if (meta.get(['identity']) === undefined) return null
  const { head } = (meta.get(['snapshot']) as StoredSnapshot | undefined) ?? {
    head: { index: 0, term: 0, members: [] },
  }
  const members = (meta.get(['members']) as Member[] | undefined) ?? head.members
  const entries: Entry[] = []
  for (const { key, value } of meta.range(['log'])) {
    const index = Number(key[1])
    // A snapshot and the drops that come with it are one commit, so that nothing before it is left.
    if (index <= head.index) continue
    checkNext(index, (entries.at(-1)?.index ?? head.index) + 1, directory)
    entries.push({ index, ...(value as StoredEntry) })
  }
  return {
    hardState: (meta.get(['hard']) as HardState | undefined) ?? { term: 0, vote: null, commit: 0 },
    snapshot: { ...head, members },
    entries,
    mark: (meta.get(['mark']) as Position | undefined) ?? { term: 0, index: 0 },
    appliedIndex: head.index,
  }
}

/** Makes the writes durable. */
function commit(meta: MetaStore, writes: readonly MetaWrite[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: string) => reject(new Error(`the MDM’s directory cannot be written: ${error}`))
    meta.commit(writes, error => {
      if (error !== null) return fail(error)
      meta.flush(flushError => (flushError === null ? resolve() : fail(flushError)))
    })
  })
}
