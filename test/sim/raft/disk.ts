import type {
  Entry,
  HardState,
  Member,
  Position,
  RaftWrite,
  Recovered,
  SnapshotHead,
} from '../../../src/core/raft/index.js'
import type { Random } from '../../../src/ports/random.js'
import type { Timeline } from './timeline.js'

/** What a disk holds. The state of a driver is the log up to `state`, which a snapshot stands for. */
export interface Image {
  hardState: HardState
  base: SnapshotHead
  entries: Entry[]
  mark: Position
  state: SnapshotHead
}

const emptyHead = (members: readonly Member[]): SnapshotHead => ({ index: 0, term: 0, members })

export const emptyImage = (members: readonly Member[]): Image => ({
  hardState: { term: 0, vote: null, commit: 0 },
  base: emptyHead(members),
  entries: [],
  mark: { term: 0, index: 0 },
  state: emptyHead(members),
})

interface Pending {
  apply(image: Image): void
  /** A part of it, as a power cut may leave it. */
  tear(image: Image): void
  done: () => void
}

/** A disk whose writes become durable later, in order. A crash keeps some of those under way, and perhaps half of one. */
export class SimDisk {
  /** What is durable. */
  readonly durable: Image
  /** What is written, durable or not. */
  view: Image
  syncMax: number
  #pending: Pending[] = []
  #isSyncing = false
  #life = 0

  constructor(
    readonly timeline: Timeline,
    readonly random: Random,
    members: readonly Member[],
    syncMax: number,
  ) {
    this.durable = emptyImage(members)
    this.view = copyOf(this.durable)
    this.syncMax = syncMax
  }

  write(write: RaftWrite, done: () => void): void {
    this.#submit({
      apply: image => applyWrite(image, write, write.entries.length),
      tear: image => applyWrite(image, write, this.random.integer(write.entries.length + 1)),
      done,
    })
  }

  /** The state up to `state` becomes the snapshot; the log before `base` goes. */
  compact(state: SnapshotHead, base: SnapshotHead, done: () => void): void {
    const apply = (image: Image) => {
      if (state.index <= image.state.index) return
      image.state = state
      if (base.index <= image.base.index) return
      image.entries = image.entries.filter(({ index }) => index > base.index)
      image.base = base
    }
    this.#submit({ apply, tear: () => {}, done })
  }

  crash(): void {
    this.#life++
    this.#isSyncing = false
    const landed = this.random.integer(this.#pending.length + 1)
    for (const { apply } of this.#pending.slice(0, landed)) apply(this.durable)
    if (this.random.integer(2) === 0) this.#pending[landed]?.tear(this.durable)
    this.#pending = []
    this.view = copyOf(this.durable)
  }

  recovered(): Recovered {
    const { hardState, base, entries, mark, state } = copyOf(this.durable)
    return { hardState, snapshot: base, entries, mark, appliedIndex: state.index }
  }

  get last(): Position {
    return this.durable.entries.at(-1) ?? this.durable.base
  }

  /** The term at `index`, as written; undefined before the log's beginning and beyond its end. */
  termAt(index: number): number | undefined {
    const { base, entries } = this.view
    return index === base.index ? base.term : entries[index - base.index - 1]?.term
  }

  #submit(pending: Pending): void {
    pending.apply(this.view)
    this.#pending.push(pending)
    this.#sync()
  }

  /** One sync makes durable whatever was written when it began. */
  #sync(): void {
    if (this.#isSyncing || this.#pending.length === 0) return
    this.#isSyncing = true
    const life = this.#life
    const count = this.#pending.length
    this.timeline.after(1 + this.random.integer(this.syncMax), () => {
      if (life !== this.#life) return
      this.#isSyncing = false
      const synced = this.#pending.splice(0, count)
      for (const { apply } of synced) apply(this.durable)
      for (const { done } of synced) if (life === this.#life) done()
      if (life === this.#life) this.#sync()
    })
  }
}

const copyOf = (image: Image): Image => ({ ...image, entries: [...image.entries] })

function applyWrite(image: Image, write: RaftWrite, entryCount: number): void {
  if (write.hardState) image.hardState = write.hardState
  if (write.mark) image.mark = write.mark
  if (write.members) image.base = { ...image.base, members: write.members }
  if (write.snapshot) {
    image.base = write.snapshot
    image.state = write.snapshot
    image.entries = []
  }
  const from = write.entries[0]?.index
  if (from === undefined) return
  image.entries.length = Math.min(image.entries.length, from - image.base.index - 1)
  image.entries.push(...write.entries.slice(0, entryCount))
}
