import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import type { Entry, Member, Position, Recovered, SnapshotHead } from './types.js'

/**
 * The entries after a snapshot, in memory. Invariants:
 *  1. indexes follow each other without a gap, terms never go down;
 *  2. base.index <= applied <= commit <= last.index, and nothing up to `commit` is ever replaced;
 *  3. stable <= last.index: up to there the disk has what stands here; only `persisted` raises it.
 */
export class RaftLog {
  #base: Position
  #entries: Entry[]
  /** The member lists that still matter, oldest first; the last one counts (dissertation 4.1). */
  #lists: { index: number; members: readonly Member[] }[]
  #commit: number
  #applied: number
  #stable: number

  constructor({ snapshot, entries, hardState, appliedIndex }: Recovered) {
    this.#base = { index: snapshot.index, term: snapshot.term }
    this.#lists = [{ index: snapshot.index, members: snapshot.members }]
    this.#entries = []
    this.#push(entries)
    this.#stable = this.lastIndex
    this.#applied = Math.max(appliedIndex, snapshot.index)
    this.#commit = Math.min(Math.max(hardState.commit, this.#applied), this.lastIndex)
    assert(this.#applied <= this.lastIndex, 'what is applied was durable in the log before')
  }

  get base(): Position {
    return this.#base
  }

  get lastIndex(): number {
    return this.#base.index + this.#entries.length
  }

  get last(): Position {
    return { index: this.lastIndex, term: this.#entries.at(-1)?.term ?? this.#base.term }
  }

  get commit(): number {
    return this.#commit
  }

  get stable(): number {
    return this.#stable
  }

  get members(): readonly Member[] {
    return this.#lists.at(-1)!.members
  }

  get areMembersCommitted(): boolean {
    return this.#lists.at(-1)!.index <= this.#commit
  }

  /** The list that counts again should the newest one, which is not committed, be replaced; else the newest one. */
  get membersBefore(): readonly Member[] {
    return this.areMembersCommitted ? this.members : this.#lists.at(-2)!.members
  }

  /** Null: compacted away, or not there yet. */
  termAt(index: number): number | null {
    if (index === this.#base.index) return this.#base.term
    return this.#entries[index - this.#base.index - 1]?.term ?? null
  }

  has(position: Position): boolean {
    return this.termAt(position.index) === position.term
  }

  /** The entries from `index` on, as many as fit; at least one, if there is one. */
  slice(index: number, countMax: number, bytesMax: number, bytesOf: (payload: unknown) => number): Entry[] {
    const start = index - this.#base.index - 1
    assert(start >= 0, 'what is asked for has not been compacted')
    const found: Entry[] = []
    let bytes = 0
    for (const entry of this.#entries.slice(start, start + countMax)) {
      bytes += bytesOf(entry.payload)
      if (found.length > 0 && bytes > bytesMax) break
      found.push(entry)
    }
    return found
  }

  from(index: number): Entry[] {
    return this.#entries.slice(index - this.#base.index - 1)
  }

  /** A leader's own new entry. */
  append(entry: Entry): void {
    this.#push([entry])
  }

  /**
   * What a leader sent, following an entry that is here. Entries that are here already stay; from the first that differs
   * on, all are replaced. Returns the first index that is new, null if none is.
   */
  merge(entries: readonly Entry[]): number | null {
    const fresh = entries.findIndex(
      entry => !this.has(entry) || (mutate('raft-replace-what-is-the-same') && entry.index > this.#commit),
    )
    if (fresh < 0) return null
    const { index } = entries[fresh]!
    assert(index > this.#commit, 'a committed entry is never replaced')
    this.#truncate(index)
    this.#push(entries.slice(fresh))
    return index
  }

  /** The newest place at or before `index` whose term is at most `term`; where two logs may still agree. */
  newestOfTerm(index: number, term: number): Position {
    let at = Math.min(index, this.lastIndex)
    for (; at > this.#base.index; at--) {
      const found = this.termAt(at)!
      if (found <= term) return { index: at, term: found }
    }
    return this.#base
  }

  commitTo(index: number): void {
    assert(index <= this.lastIndex, 'nobody loses what it has acknowledged; a member on an empty disk needs a new id')
    this.#commit = Math.max(this.#commit, index)
  }

  /** What is committed and durable here, and was not handed out before. */
  takeCommitted(): Entry[] {
    const upTo = Math.min(this.#commit, this.#stable)
    if (upTo <= this.#applied) return []
    const entries = this.#entries.slice(this.#applied - this.#base.index, upTo - this.#base.index)
    this.#applied = upTo
    return entries
  }

  setStable(index: number): void {
    this.#stable = Math.min(index, this.lastIndex)
  }

  /** Everything is replaced by a snapshot. */
  restore(head: SnapshotHead): void {
    assert(head.index > this.#commit, 'a snapshot brings something new')
    this.#base = { index: head.index, term: head.term }
    this.#entries = []
    this.#lists = [{ index: head.index, members: head.members }]
    this.#commit = head.index
    this.#applied = head.index
    this.#stable = 0
  }

  compact(index: number): void {
    if (index <= this.#base.index) return
    assert(index <= this.#applied, 'only what is applied is compacted')
    const base = { index, term: this.termAt(index)! }
    this.#entries = this.from(index + 1)
    this.#base = base
    const newer = this.#lists.findIndex(list => list.index > index)
    this.#lists.splice(0, (newer < 0 ? this.#lists.length : newer) - 1)
  }

  #push(entries: readonly Entry[]): void {
    for (const entry of entries) {
      assert(entry.index === this.lastIndex + 1, 'entries follow each other')
      assert(entry.term >= this.last.term, 'terms in a log never go down')
      this.#entries.push(entry)
      if (entry.members) this.#lists.push({ index: entry.index, members: entry.members })
    }
  }

  #truncate(index: number): void {
    this.#entries.length = Math.min(this.#entries.length, index - this.#base.index - 1)
    this.#stable = Math.min(this.#stable, index - 1)
    while (this.#lists.length > 1 && this.#lists.at(-1)!.index >= index) this.#lists.pop()
  }
}
