import { createHash } from 'node:crypto'
import { StorageError } from '../base/errors.js'
import {
  apply,
  applyOther,
  chainedDigest,
  emptyState,
  type LogEntry,
  type MdmState,
  type Outcome,
  restore,
  type Snapshot,
  snapshotOf,
} from '../core/mdm/index.js'
import type { Entry, Member, SnapshotHead } from '../core/raft/index.js'
import type { ClusterMap, MapDelta } from '../model/index.js'
import { decode, encode } from '../wire/codec.js'
import { weightOf } from './weight.js'

/** Weight of the deltas that are kept for a time as master. */
const weightKept = 4096
/** Digests of the newest entries, for the comparison with members that are not as far. */
const digestsKept = 8192
export const firstChain = ''

/** What a snapshot holds: the state, written; the digest chain up to it; and a hash over the first. */
interface SnapshotContent {
  state: Uint8Array
  chain: string
  hash: string
}

export function contentOf(state: MdmState, chain: string): Uint8Array {
  const bytes = encode(snapshotOf(state))
  const content: SnapshotContent = { state: bytes, chain, hash: hashOf(bytes) }
  return encode(content)
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

/** What an entry has led to; `outcome` null: it was no command. */
export interface Applied {
  delta: MapDelta
  outcome: Outcome | null
}

/** One manager's copy of the state, as far as it has applied the log. */
export class Replica {
  state: MdmState = emptyState()
  /** The last membership that was applied. */
  members: readonly Member[] = []
  /** Changes of the newest entries, in order. */
  deltas: MapDelta[] = []
  #deltasWeight = 0
  #chain = firstChain
  readonly #digests = new Map<number, string>()
  appliedTerm = 0
  /** Weight of what was applied since the last snapshot. */
  weight = 0

  get map(): ClusterMap {
    return this.state.map
  }
  get appliedIndex(): number {
    return this.state.map.version
  }
  /** Over all that was applied. */
  get digest(): string {
    return this.#chain
  }

  /** The digest as of `index`; null: that is too long ago, or yet to come. */
  digestAt(index: number): string | null {
    return this.#digests.get(index) ?? null
  }

  apply({ index, term, payload, members }: Entry): Applied {
    const applied = this.#apply(index, payload as Uint8Array | null, members)
    this.#chain = chainedDigest(this.#chain, applied.delta, applied.outcome)
    this.appliedTerm = term
    this.#noteDigest()
    this.#keep(applied.delta)
    return applied
  }

  #apply(index: number, payload: Uint8Array | null, members: readonly Member[] | undefined): Applied {
    if (members !== undefined) {
      this.members = members
      const voters = new Set(members.filter(({ isLearner }) => !isLearner).map(({ id }) => id))
      return { delta: applyOther(this.state, index, voters), outcome: null }
    }
    if (payload === null) return { delta: applyOther(this.state, index, null), outcome: null }
    return apply(this.state, index, decode(payload) as LogEntry)
  }

  #keep(delta: MapDelta): void {
    const weight = weightOf(delta)
    this.weight += weight
    this.deltas.push(delta)
    this.#deltasWeight += weight
    while (this.#deltasWeight > weightKept && this.deltas.length > 1)
      this.#deltasWeight -= weightOf(this.deltas.shift()!)
  }

  #noteDigest(): void {
    this.#digests.set(this.appliedIndex, this.#chain)
    this.#digests.delete(this.appliedIndex - digestsKept)
  }

  content(): Uint8Array {
    return contentOf(this.state, this.#chain)
  }

  /** Begins anew from a snapshot; null: from nothing. Throws DEVICE_DAMAGED where it is not what was once saved. */
  install(content: Uint8Array | null, { members, term }: Pick<SnapshotHead, 'members' | 'term'>): void {
    this.appliedTerm = term
    this.members = members
    this.deltas = []
    this.#deltasWeight = 0
    this.#digests.clear()
    this.weight = 0
    if (content === null) {
      this.state = emptyState()
      this.#chain = firstChain
      return
    }
    const { state, chain, hash } = decode(content) as SnapshotContent
    if (hashOf(state) !== hash)
      throw new StorageError('DEVICE_DAMAGED', {
        detail: 'the MDM’s snapshot is damaged',
        remedy: 'replace this member by one on an empty disk; a single MDM is restored from a backup',
      })
    this.state = restore(decode(state) as Snapshot)
    this.#chain = chain
    this.#noteDigest()
  }
}
