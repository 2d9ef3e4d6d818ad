import type { DeviceId, PoolId } from '../base/ids.js'
import { freeForVolumesBytes, poolAccounts } from '../core/capacity/index.js'
import { effectiveLimits } from '../core/qos/index.js'
import { copiesOf, type SliceRecord, type StoragePool } from '../model/index.js'
import type { PoolCapacity, SliceSummary, SystemReport } from '../wire/control.js'
import type { Mdm } from './context.js'

/** Everything there is to know: the map, and what is true right now. */
export function systemReport({ map, registry, watch, rebuilds }: Mdm): SystemReport {
  const { tables } = map
  const rows = <Row>(table: Map<string, Row>): Row[] => [...table.values()]
  const count = (matches: (id: string) => boolean, ids: Iterable<string>): number => {
    let found = 0
    for (const id of ids) if (matches(id)) found++
    return found
  }
  const devices = rows(tables.devices)
  const mappings = rows(tables.mappings)
  return {
    system: rows(tables.systems)[0]!,
    mdms: rows(tables.mdms),
    mapVersion: map.version,
    protectionDomains: rows(tables.protectionDomains),
    faultSets: rows(tables.faultSets),
    pools: rows(tables.pools).map(pool => ({
      ...pool,
      capacity: capacityOf({ map, registry }, pool),
      slices: slicesOf({ map, registry }, pool.id),
      ...rebuilds.progressOf(pool.id),
    })),
    sdss: rows(tables.sdss).map(sds => ({
      ...sds,
      connected: registry.sds(sds.id) !== null,
      devices: devices.filter(device => device.sdsId === sds.id).length,
      oscillations: watch.oscillations(sds.id),
    })),
    devices: devices.map(device => ({
      ...device,
      connected: registry.isPresent(device.id),
      usage: registry.usage.get(device.id) ?? null,
    })),
    volumes: rows(tables.volumes).map(volume => ({
      ...volume,
      mappedTo: count(
        id => id === volume.id,
        mappings.map(({ volumeId }) => volumeId),
      ),
    })),
    sdcs: rows(tables.sdcs).map(sdc => {
      const peer = registry.sdc(sdc.id)
      return {
        ...sdc,
        connected: peer !== null,
        address: peer?.connection.remote ?? null,
        exports: registry.exports.get(sdc.id) ?? [],
      }
    }),
    mappings: mappings.flatMap(mapping => {
      const volume = tables.volumes.get(mapping.volumeId)
      const pool = volume && tables.pools.get(volume.poolId)
      if (!pool) return []
      const { iops, bandwidthKbPerSec } = effectiveLimits(volume, mapping, pool)
      return [{ ...mapping, effectiveIops: iops, effectiveBandwidthKbPerSec: bandwidthKbPerSec }]
    }),
  }
}

type Facts = Pick<Mdm, 'map' | 'registry'>

export function capacityOf({ map, registry }: Facts, pool: StoragePool): PoolCapacity {
  const accounts = poolAccounts(map, pool.id)
  const thinAllocatedBytes = registry.thinAllocatedBytes(pool.id)
  return {
    rawBytes: accounts.rawBytes,
    inUseBytes: registry.inUseBytes(pool.id),
    spareBytes: accounts.spareBytes,
    usableBytes: accounts.usableBytes,
    thickReservedBytes: accounts.thickReservedBytes,
    thinAllocatedBytes,
    thinProvisionedBytes: accounts.thinProvisionedBytes,
    freeForVolumesBytes: freeForVolumesBytes(accounts, thinAllocatedBytes),
  }
}

export function slicesOf({ map, registry }: Facts, poolId: PoolId): SliceSummary {
  const summary: SliceSummary = { total: 0, healthy: 0, joining: 0, degraded: 0, failed: 0 }
  // Asked once per device, not once per slice.
  const serving = new Map<DeviceId, boolean>()
  const waiting = new Map<DeviceId, Set<number>>()
  for (const device of map.tables.devices.values()) {
    if (device.poolId !== poolId) continue
    serving.set(device.id, registry.isPresent(device.id) && !registry.usage.get(device.id)?.error)
    if (device.waiting) waiting.set(device.id, new Set(device.waiting.slices))
  }
  const serves = (record: SliceRecord) => (id: DeviceId) =>
    (serving.get(id) ?? false) && !waiting.get(id)?.has(record.slice)
  for (const record of map.slices.get(poolId) ?? []) {
    summary.total++
    summary[conditionOf(record, serves(record))]++
  }
  return summary
}

function conditionOf(record: SliceRecord, serves: (id: DeviceId) => boolean): Exclude<keyof SliceSummary, 'total'> {
  const { primary, secondary, joining } = record
  if (!serves(primary) && (secondary === null || !serves(secondary))) return 'failed'
  if (!copiesOf(record).every(serves)) return 'degraded'
  if (joining !== null) return 'joining'
  return secondary === null ? 'degraded' : 'healthy'
}
