import { createHash } from 'node:crypto'
import { assert } from '../../base/assert.js'
import { StorageError } from '../../base/errors.js'
import { type Id, idOfNumber, numberOfId, type PoolId } from '../../base/ids.js'
import {
  applyDelta,
  type ClusterMap,
  emptyMap,
  type MapChange,
  type MapDelta,
  type SliceRecord,
  systemIdOf,
  tableNames,
} from '../../model/index.js'
import type { WireError } from '../../wire/control.js'

/** What became of a command. */
export type Outcome = { answer: unknown } | { error: WireError }

/**
 * Everything that the MDM cluster agrees on. It changes only by `apply`, in log order. Invariants:
 *  1. every object's number is below `nextNumber`, so that no number is used again;
 *  2. `epochHigh` of a pool is at least the epoch of any slice that the pool ever had, also after its table was dropped.
 */
export interface MdmState {
  /** `map.version` is the index of the last entry applied. */
  map: ClusterMap
  nextNumber: number
  epochHigh: Map<PoolId, number>
  /** Per client its last command's number and outcome; the longest silent first. */
  answers: Map<string, { number: number; outcome: Outcome }>
}

/** Clients whose last answer is kept. */
export const answersMax = 1024

export const emptyState = (): MdmState => ({
  map: emptyMap(),
  nextNumber: 1,
  epochHigh: new Map(),
  answers: new Map(),
})

/** Applies what was decided; counters follow from it. */
export function applyChanges(state: MdmState, delta: MapDelta): void {
  for (const change of delta.changes) noteCounters(state, change)
  applyDelta(state.map, delta)
}

function noteCounters(state: MdmState, change: MapChange): void {
  if (change.kind === 'put')
    state.nextNumber =
      change.table === 'systems'
        ? Math.max(state.nextNumber, change.value.numbersFrom ?? 0)
        : Math.max(state.nextNumber, numberOfId(change.value.id) + 1)
  if (change.kind === 'put' && change.table === 'pools' && change.value.epochsFrom !== undefined)
    raiseEpochs(state, change.value.id, change.value.epochsFrom)
  if (change.kind === 'drop' && change.table === 'pools') state.epochHigh.delete(change.id as PoolId)
  if (change.kind === 'slices')
    raiseEpochs(
      state,
      change.poolId,
      change.slices.reduce((max, { epoch }) => Math.max(max, epoch), 0),
    )
}

function raiseEpochs(state: MdmState, poolId: PoolId, epoch: number): void {
  state.epochHigh.set(poolId, Math.max(state.epochHigh.get(poolId) ?? 0, epoch))
}

/** The id that the next object gets. */
export function nextId<Kind extends string>(state: MdmState): Id<Kind> {
  const systemId = systemIdOf(state.map)
  if (!systemId) throw new StorageError('NOT_FOUND', { detail: 'there is no system yet' })
  return idOfNumber<Kind>(systemId, state.nextNumber)
}

export function keepAnswer(state: MdmState, client: string, number: number, outcome: Outcome): void {
  state.answers.delete(client)
  state.answers.set(client, { number, outcome })
  for (const oldest of state.answers.keys()) {
    if (state.answers.size <= answersMax) break
    state.answers.delete(oldest)
  }
}

/** The state as plain data, for msgpack. */
export interface Snapshot {
  version: number
  nextNumber: number
  tables: Record<string, unknown[]>
  slices: [string, SliceRecord[]][]
  epochHigh: [string, number][]
  answers: [string, { number: number; outcome: Outcome }][]
}

export function snapshotOf(state: MdmState): Snapshot {
  const tables: Snapshot['tables'] = {}
  for (const table of tableNames) tables[table] = [...state.map.tables[table].values()]
  return {
    version: state.map.version,
    nextNumber: state.nextNumber,
    tables,
    slices: [...state.map.slices],
    epochHigh: [...state.epochHigh],
    answers: [...state.answers],
  }
}

export function restore(snapshot: Snapshot): MdmState {
  const state = emptyState()
  state.map.version = snapshot.version
  state.nextNumber = snapshot.nextNumber
  for (const table of tableNames)
    for (const value of (snapshot.tables[table] ?? []) as { id: string }[])
      (state.map.tables[table] as Map<string, { id: string }>).set(value.id, value)
  for (const [poolId, records] of snapshot.slices) state.map.slices.set(poolId as PoolId, records)
  for (const [poolId, epoch] of snapshot.epochHigh) state.epochHigh.set(poolId as PoolId, epoch)
  for (const [client, answer] of snapshot.answers) state.answers.set(client, answer)
  assert(digest(state).length === 64, 'a restored state can be hashed')
  return state
}

/** A hash over the content, whatever the order in which it came about. The log index is not part of it. */
export function digest(state: MdmState): string {
  const hash = createHash('sha256')
  const feed = (value: unknown): void => void hash.update(`${sortedJson(value)}\n`)
  for (const table of tableNames) {
    feed(table)
    for (const [, value] of sorted(state.map.tables[table] as Map<string, unknown>)) feed(value)
  }
  for (const [poolId, records] of sorted(state.map.slices)) {
    feed(poolId)
    for (const record of records) feed(record)
  }
  feed(state.nextNumber)
  feed(sorted(state.epochHigh))
  // Their order decides who is forgotten next, so it is content.
  feed([...state.answers])
  return hash.digest('hex')
}

/**
 * A hash over everything that was ever applied: of the chain so far and what one more entry did. Members that have
 * applied the same entries with the same effects have the same one, at the price of the change alone.
 */
export function chainedDigest(before: string, delta: MapDelta, outcome: Outcome | null): string {
  const step = `${before}\n${sortedJson(delta)}\n${sortedJson(outcome)}`
  return createHash('sha256').update(step).digest('hex').slice(0, 32)
}

const sorted = <Value>(table: Map<string, Value>): [string, Value][] =>
  [...table].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))

/** JSON with the keys of every object in order: equal content, equal text. */
export function sortedJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}
