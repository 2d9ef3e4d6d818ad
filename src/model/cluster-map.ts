import { assert } from '../base/assert.js'
import { type DeviceId, type PoolId, type SdcId, type SdsId, type SystemId, sameId } from '../base/ids.js'
import type {
  Device,
  FaultSet,
  Mapping,
  Mdm,
  ProtectionDomain,
  Sdc,
  Sds,
  SliceRecord,
  StoragePool,
  System,
  Volume,
} from './objects.js'
import { noteVolume } from './volume-index.js'

/** Every table of the object model, by name: what a map change may name. */
export interface Tables {
  systems: System
  protectionDomains: ProtectionDomain
  faultSets: FaultSet
  pools: StoragePool
  sdss: Sds
  devices: Device
  volumes: Volume
  sdcs: Sdc
  mappings: Mapping
  mdms: Mdm
}
export type TableName = keyof Tables
export const tableNames = [
  'systems',
  'protectionDomains',
  'faultSets',
  'pools',
  'sdss',
  'devices',
  'volumes',
  'sdcs',
  'mappings',
  'mdms',
] as const satisfies readonly TableName[]

/** One step of the map; what a command decides is a list of these, and what is pushed is the same list. */
export type MapChange =
  | { [T in TableName]: { kind: 'put'; table: T; value: Tables[T] } }[TableName]
  | { kind: 'drop'; table: TableName; id: string }
  /** Records of some slices of a pool; the first one for a pool names them all. */
  | { kind: 'slices'; poolId: PoolId; slices: SliceRecord[] }
  /** The pool no longer has a slice table. */
  | { kind: 'dropSlices'; poolId: PoolId }

/**
 * The changes of one log entry. A map at `version - 1` becomes `version` by applying them in order. Every log entry makes
 * one delta, possibly without changes, so that versions are contiguous and a gap can be seen. Only a whole map
 * (`wholeMap`) stands for itself: it replaces what was there, whatever its version.
 */
export interface MapDelta {
  version: number
  changes: MapChange[]
}

/** The configuration as every daemon sees it. `version` is the index of the last log entry applied. */
export interface ClusterMap {
  version: number
  tables: { [T in TableName]: Map<string, Tables[T]> }
  /** Per pool, `sliceCount` records in order; absent until the planner has placed the pool. */
  slices: Map<PoolId, SliceRecord[]>
}

export function emptyMap(): ClusterMap {
  const tables = Object.fromEntries(tableNames.map(name => [name, new Map()]))
  return { version: 0, tables: tables as ClusterMap['tables'], slices: new Map() }
}

/** Applies the changes of one entry, in order. Total: what it does not find it leaves alone. */
export function applyDelta(map: ClusterMap, delta: MapDelta): void {
  assert(delta.version > map.version, 'map changes are applied in log order')
  for (const change of delta.changes) applyChange(map, change)
  map.version = delta.version
}

export function applyChange(map: ClusterMap, change: MapChange): void {
  switch (change.kind) {
    case 'put':
      if (change.table === 'volumes')
        noteVolume(map.tables.volumes, map.tables.volumes.get(change.value.id), change.value)
      ;(map.tables[change.table] as Map<string, { id: string }>).set(change.value.id, change.value)
      return
    case 'drop':
      if (change.table === 'volumes') noteVolume(map.tables.volumes, map.tables.volumes.get(change.id), undefined)
      map.tables[change.table].delete(change.id)
      return
    case 'dropSlices':
      map.slices.delete(change.poolId)
      return
    case 'slices': {
      const records = map.slices.get(change.poolId) ?? []
      for (const record of change.slices) {
        record.primary = sameId(record.primary)
        if (record.secondary !== null) record.secondary = sameId(record.secondary)
        if (record.joining !== null) record.joining = sameId(record.joining)
        records[record.slice] = record
      }
      map.slices.set(change.poolId, records)
    }
  }
}

/** The whole map as one delta, for a peer that has nothing or is too far behind. */
export function wholeMap(map: ClusterMap): MapDelta {
  const changes: MapChange[] = []
  for (const table of tableNames)
    for (const value of map.tables[table].values()) changes.push({ kind: 'put', table, value } as MapChange)
  for (const [poolId, slices] of map.slices) changes.push({ kind: 'slices', poolId, slices })
  return { version: map.version, changes }
}

export const systemIdOf = (map: ClusterMap): SystemId | null => map.tables.systems.values().next().value?.id ?? null

/** The copies of a slice: primary, secondary, joining, in this order, absent ones left out. */
export function copiesOf(record: SliceRecord): DeviceId[] {
  const copies = [record.primary]
  if (record.secondary !== null) copies.push(record.secondary)
  if (record.joining !== null) copies.push(record.joining)
  return copies
}

/** The slice of a volume's chunk. */
export const sliceOfChunk = (volume: Volume, pool: StoragePool, chunk: number): number =>
  (volume.sliceOffset + chunk) % pool.sliceCount

/** What must not fail together: the SDS's fault set, or the SDS itself where it has none. */
export function faultUnitOf(map: ClusterMap, deviceId: DeviceId): string {
  const device = map.tables.devices.get(deviceId)
  const sds = device && map.tables.sdss.get(device.sdsId)
  assert(sds, `the map knows the SDS of device ${deviceId}`)
  return sds.faultSetId ?? sds.id
}

export const devicesOfSds = (map: ClusterMap, sdsId: SdsId): Device[] =>
  [...map.tables.devices.values()].filter(device => device.sdsId === sdsId)

export const mappingsOfSdc = (map: ClusterMap, sdcId: SdcId): Mapping[] =>
  [...map.tables.mappings.values()].filter(mapping => mapping.sdcId === sdcId)
