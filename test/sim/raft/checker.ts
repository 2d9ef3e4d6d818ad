import type { Entry, MemberId, Position, RaftWrite } from '../../../src/core/raft/index.js'
import type { SimDisk } from './disk.js'

/** A promise of the consensus that was broken. */
export class Violation extends Error {}

export type Payload = { id: number } | null

/** Looks on from outside, and knows only what Raft promises (dissertation, figure 3.2) and when a log is linearizable. */
export class RaftChecker {
  readonly #leaders = new Map<number, MemberId>()
  /** What was ever written at (index, term), with the term before it. */
  readonly #written = new Map<string, string>()
  /** What was applied first at each index, by whoever. */
  readonly #applied: string[] = []
  /** For each term, in order: how far commits were known to members of that term or older ones. */
  readonly #known: { term: number; index: number; entryTerm: number }[] = []
  /** The newest place that somebody outside has been told of. */
  #seen = 0
  acknowledged = 0
  read = 0

  get seen(): number {
    return this.#seen
  }

  get appliedIndex(): number {
    return this.#applied.length - 1
  }

  leads(member: MemberId, term: number, disk: SimDisk): void {
    const other = this.#leaders.get(term)
    if (other !== undefined && other !== member)
      throw new Violation(`election safety: ${other} and ${member} both lead term ${term}`)
    this.#leaders.set(term, member)
    const before = this.#known.findLast(known => known.term < term)
    if (!before || before.index <= disk.view.base.index) return
    const have = disk.termAt(before.index)
    if (have !== before.entryTerm)
      throw new Violation(
        `leader completeness: ${member} leads term ${term} with term ${have} at ${before.index}, where ${before.entryTerm} was committed`,
      )
  }

  wrote(member: MemberId, write: RaftWrite, disk: SimDisk): void {
    for (const entry of write.entries) {
      const key = `${entry.index}/${entry.term}`
      const text = `${describe(entry)} after ${disk.termAt(entry.index - 1)}`
      const have = this.#written.get(key) ?? text
      if (have !== text) throw new Violation(`log matching: ${key} is ${have}, and ${text} on ${member}`)
      this.#written.set(key, text)
    }
  }

  /** Design section 8: a tie breaker's mark only grows, by term, then index; it never goes back. */
  marked(member: MemberId, before: Position, { term, index }: Position): void {
    if (term < before.term || (term === before.term && index < before.index))
      throw new Violation(`marks: ${member} goes from ${before.index}/${before.term} to ${index}/${term}`)
  }

  applied(member: MemberId, entry: Entry, term: number): void {
    const text = `${entry.term}: ${describe(entry)}`
    const have = this.#applied[entry.index] ?? text
    if (have !== text)
      throw new Violation(`state machine safety: ${entry.index} is ${have}, and ${member} applies ${text}`)
    if (entry.index < this.#applied.length) return
    this.#applied[entry.index] = text
    const last = this.#known.at(-1)
    const known = { term: Math.max(term, last?.term ?? 0), index: entry.index, entryTerm: entry.term }
    if (last?.term === known.term) this.#known.pop()
    this.#known.push(known)
  }

  /** `floor`: `seen` when the proposal was made. */
  wasAcknowledged(index: number, floor: number): void {
    if (index <= floor) throw new Violation(`linearizability: a change asked for after ${floor} stands at ${index}`)
    this.acknowledged++
    this.#seen = Math.max(this.#seen, index)
  }

  wasRead(index: number, floor: number, member: MemberId): void {
    if (index < floor) throw new Violation(`linearizability: ${member} reads ${index}, after ${floor} had been seen`)
    this.read++
    this.#seen = Math.max(this.#seen, index)
  }
}

const describe = ({ payload, members }: Entry): string =>
  members ? members.map(({ id, isLearner }) => (isLearner ? `(${id})` : id)).join(' ') : JSON.stringify(payload)
