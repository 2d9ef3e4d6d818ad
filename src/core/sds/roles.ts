import { type DeviceId, numberOfId, type PoolId } from '../../base/ids.js'
import { chunkCountFor } from '../../base/units.js'
import type { ClusterMap, MapDelta, SliceRecord } from '../../model/index.js'

/** The map by numbers, as requests on the data wire name things. Rebuilt when a table changes, shared by all devices. */

export interface PoolView {
  number: number
  id: PoolId
  zeroPadding: boolean
  sliceCount: number
  /** The map's own array: always current, empty until the planner has placed the pool. */
  records: readonly SliceRecord[]
}

export interface VolumeView {
  number: number
  pool: PoolView
  chunkCount: number
  thick: boolean
  sliceOffset: number
}

export interface MappingView {
  /** Number of the SDC that may use it. */
  client: number
  volume: VolumeView
  writable: boolean
}

export type Role = 'primary' | 'secondary' | 'joining' | 'none'

export function roleOf(record: SliceRecord, deviceId: DeviceId): Role {
  if (record.primary === deviceId) return 'primary'
  if (record.secondary === deviceId) return 'secondary'
  return record.joining === deviceId ? 'joining' : 'none'
}

export const sliceOf = (volume: VolumeView, chunk: number): number =>
  (volume.sliceOffset + chunk) % volume.pool.sliceCount

/** The first chunk of `volume` in `slice`; the others follow in steps of the pool's slice count. */
export const firstChunkIn = (volume: VolumeView, slice: number): number =>
  (((slice - volume.sliceOffset) % volume.pool.sliceCount) + volume.pool.sliceCount) % volume.pool.sliceCount

/** One number for (pool, slice). */
export const sliceKey = (pool: number, slice: number): number => pool * 2 ** 16 + slice

const noRecords: readonly SliceRecord[] = []

export class SdsView {
  version = 0
  pools = new Map<number, PoolView>()
  volumes = new Map<number, VolumeView>()
  mappings = new Map<number, MappingView>()
  /** Number of the SDS that owns a device. */
  sdsOfDevice = new Map<string, number>()
  /** Slices, by `sliceKey`, that nobody serves until the MDM has decided about a copy that stopped uncleanly. */
  waiting = new Set<number>()

  /** Brings the view up to `map`; `deltas` null means that the map is a new one. */
  refresh(map: ClusterMap, deltas: readonly MapDelta[] | null): void {
    this.version = map.version
    if (deltas === null || deltas.some(touchesTables) || this.#hasOtherSlices(map)) this.#rebuild(map)
  }

  record(pool: number, slice: number): SliceRecord | undefined {
    return this.pools.get(pool)?.records[slice]
  }

  /** Volumes of a pool, for what goes through a whole slice. By number: the caller may have a view that has been rebuilt since. */
  volumesOf(pool: PoolView): VolumeView[] {
    const volumes: VolumeView[] = []
    for (const volume of this.volumes.values()) if (volume.pool.number === pool.number) volumes.push(volume)
    return volumes
  }

  /** A pool got its slice table, or another one. */
  #hasOtherSlices(map: ClusterMap): boolean {
    for (const pool of this.pools.values()) if ((map.slices.get(pool.id) ?? noRecords) !== pool.records) return true
    return false
  }

  #rebuild(map: ClusterMap): void {
    const { tables } = map
    this.pools = new Map()
    this.volumes = new Map()
    this.mappings = new Map()
    this.sdsOfDevice = new Map()
    this.waiting = new Set()
    for (const { id, zeroPadding, sliceCount } of tables.pools.values()) {
      const number = numberOfId(id)
      this.pools.set(number, { number, id, zeroPadding, sliceCount, records: map.slices.get(id) ?? noRecords })
    }
    for (const volume of tables.volumes.values()) {
      const pool = this.pools.get(numberOfId(volume.poolId))
      const number = numberOfId(volume.id)
      if (pool === undefined) continue
      const chunkCount = chunkCountFor(volume.sizeBytes)
      const thick = volume.type === 'thick'
      this.volumes.set(number, { number, pool, chunkCount, thick, sliceOffset: volume.sliceOffset })
    }
    for (const mapping of tables.mappings.values()) {
      const volume = this.volumes.get(numberOfId(mapping.volumeId))
      const writable = mapping.accessMode === 'ReadWrite'
      if (volume === undefined) continue
      this.mappings.set(numberOfId(mapping.id), { client: numberOfId(mapping.sdcId), volume, writable })
    }
    for (const device of tables.devices.values()) {
      this.sdsOfDevice.set(device.id, numberOfId(device.sdsId))
      const pool = numberOfId(device.poolId)
      for (const slice of device.waiting?.slices ?? []) this.waiting.add(sliceKey(pool, slice))
    }
  }
}

/** Records of a pool that has a slice table change in the array that the view has. */
const touchesTables = (delta: MapDelta): boolean => delta.changes.some(change => change.kind !== 'slices')

/** The records that `deltas` changed, the newest of each slice last; all of `map` where `deltas` is null. */
export function changedRecords(
  map: ClusterMap,
  deltas: readonly MapDelta[] | null,
): { poolId: PoolId; record: SliceRecord }[] {
  const records: { poolId: PoolId; record: SliceRecord }[] = []
  if (deltas === null) {
    for (const [poolId, slices] of map.slices) for (const record of slices) records.push({ poolId, record })
    return records
  }
  for (const { changes } of deltas)
    for (const change of changes)
      if (change.kind === 'slices') for (const record of change.slices) records.push({ poolId: change.poolId, record })
  return records
}

/**
 * What a device that stopped uncleanly, and was opened only after its SDS had the map, may not act on yet (design
 * section 5, rule 6): its old role is void, even in the same epoch, until the MDM has raised the slice's epoch on its
 * account. A record with two copies in sync, this device one of them, has not been decided by the map that we have; all
 * others (joining, or the only one in sync) are the decision. Devices opened before the first registration need none of
 * this: the entry of the registration carries the decision, or names the slice among those that wait.
 */
export function voidEpochs(map: ClusterMap, deviceId: DeviceId): Map<number, number> {
  const epochs = new Map<number, number>()
  for (const [poolId, records] of map.slices)
    for (const record of records) {
      const role = roleOf(record, deviceId)
      const undecided = (role === 'primary' && record.secondary !== null) || role === 'secondary'
      if (undecided) epochs.set(sliceKey(numberOfId(poolId), record.slice), record.epoch)
    }
  return epochs
}

/** Devices of `sdsId` in the map. */
export function devicesOf(map: ClusterMap, sdsId: string): { id: DeviceId; paths: string[] }[] {
  const found: { id: DeviceId; paths: string[] }[] = []
  for (const device of map.tables.devices.values())
    if (device.sdsId === sdsId && device.state !== 'pending')
      found.push({ id: device.id, paths: [...new Set([device.path, device.originalPath])] })
  return found
}
