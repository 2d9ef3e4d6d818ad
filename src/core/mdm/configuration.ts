import type { PoolId } from '../../base/ids.js'
import {
  applyChange,
  type ClusterMap,
  emptyMap,
  type MapChange,
  type SliceRecord,
  type System,
  systemIdOf,
  type TableName,
  type Tables,
  tableNames,
} from '../../model/index.js'
import type { MdmState } from './state.js'

/** Every table but the system's own row, and the MDMs: those are where they are. */
export type ObjectTable = Exclude<TableName, 'systems' | 'mdms'>
export const objectTables = tableNames.filter((name): name is ObjectTable => name !== 'systems' && name !== 'mdms')

/**
 * The whole configuration as plain data, in the order of the ids: what is exported, and what an import puts in place.
 * Answers kept for clients are not part of it, nor is how the system is recovering.
 */
export interface Configuration {
  system: Pick<System, 'id' | 'name'>
  nextNumber: number
  tables: { [T in ObjectTable]: Tables[T][] }
  slices: [PoolId, SliceRecord[]][]
  epochHigh: [PoolId, number][]
}

/** The configuration of a state in which the system exists. */
export function configurationOf(state: MdmState): Configuration {
  const { tables, slices } = state.map
  const { id, name } = tables.systems.get(systemIdOf(state.map)!)!
  const byId = <Row extends { id: string }>(table: Map<string, Row>): Row[] =>
    [...table.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  const rows = Object.fromEntries(
    objectTables.map(table => [table, byId(tables[table] as Map<string, { id: string }>)]),
  )
  return {
    system: { id, name },
    nextNumber: state.nextNumber,
    tables: { ...(rows as Configuration['tables']), pools: byId(tables.pools).map(withoutFloor) },
    slices: inOrder(slices).map(([poolId, records]) => [poolId, records.map(withLeft)]),
    epochHigh: inOrder(state.epochHigh),
  }
}

/** Its changes, from nothing: what makes a map of it. */
export function changesOf({ tables, slices }: Configuration): MapChange[] {
  const changes: MapChange[] = []
  for (const table of objectTables)
    for (const value of tables[table]) changes.push({ kind: 'put', table, value } as MapChange)
  for (const [poolId, records] of slices) changes.push({ kind: 'slices', poolId, slices: records })
  return changes
}

/** Its map, for checks. */
export function mapOf(configuration: Configuration): ClusterMap {
  const map = emptyMap()
  map.tables.systems.set(configuration.system.id, configuration.system)
  for (const change of changesOf(configuration)) applyChange(map, change)
  return map
}

/** The counter is exported for itself. */
function withoutFloor({ epochsFrom: _, ...pool }: Tables['pools']): Tables['pools'] {
  return pool
}

const withLeft = (record: SliceRecord): SliceRecord => ({ ...record, left: record.left ?? null })

const inOrder = <Value>(table: Map<PoolId, Value>): [PoolId, Value][] => [...table].sort(([a], [b]) => (a < b ? -1 : 1))
