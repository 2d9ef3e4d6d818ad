import type { PoolId } from '../../base/ids.js'
import { chunkBytes, volumeStepBytes } from '../../base/units.js'
import { type ClusterMap, copiesOf, type StoragePool, type Volume, volumeIndexOf } from '../../model/index.js'
import { readyDevices } from '../placement/index.js'

/** What the configuration alone says about a pool's capacity; the rest of `PoolCapacity` is what SDSs report. */
export interface PoolAccounts {
  /** Both copies count in raw and spare. */
  rawBytes: number
  spareBytes: number
  /** Data counts once from here on. */
  usableBytes: number
  thickReservedBytes: number
  thinProvisionedBytes: number
}

/**
 * Usable capacity is half of what is left beside the spare, and never more than the slice table can really place: a
 * slice grows on its two devices alike, so the device with the least room per copy bounds them all.
 */
export function poolAccounts(map: ClusterMap, poolId: PoolId): PoolAccounts {
  const pool = map.tables.pools.get(poolId)
  const units = new Map<string, number>()
  let rawBytes = 0
  for (const { capacityBytes, faultUnit } of readyDevices(map, poolId)) {
    rawBytes += capacityBytes
    units.set(faultUnit, (units.get(faultUnit) ?? 0) + capacityBytes)
  }
  const spareBytes = spareOf(pool?.sparePercent ?? null, rawBytes, Math.max(0, ...units.values()))
  const halfBytes = Math.floor((rawBytes - spareBytes) / 2 / chunkBytes) * chunkBytes
  const accounts = { rawBytes, spareBytes, usableBytes: 0, thickReservedBytes: 0, thinProvisionedBytes: 0 }
  accounts.usableBytes = Math.min(halfBytes, placeableBytes(map, poolId))
  const volumes = volumeIndexOf(map.tables.volumes).pools.get(poolId)
  accounts.thickReservedBytes = volumes?.thickBytes ?? 0
  accounts.thinProvisionedBytes = volumes?.thinBytes ?? 0
  return accounts
}

function spareOf(percent: number | null, rawBytes: number, largestUnitBytes: number): number {
  if (percent === null) return largestUnitBytes
  return Math.min(rawBytes, Math.ceil((rawBytes * percent) / 100 / chunkBytes) * chunkBytes)
}

/** What all slices together could hold before the first of their devices is full. */
function placeableBytes(map: ClusterMap, poolId: PoolId): number {
  const slices = map.slices.get(poolId)
  if (!slices) return 0
  let chunksPerSlice = Number.MAX_SAFE_INTEGER
  for (const [deviceId, copies] of copiesByDevice(map, poolId)) {
    const device = map.tables.devices.get(deviceId)
    // What is drained or dead bounds nobody: its copies will stand elsewhere.
    if (device?.state !== 'ready') continue
    const chunks = Math.floor(device.capacityBytes / chunkBytes)
    chunksPerSlice = Math.min(chunksPerSlice, Math.floor(chunks / copies))
  }
  return chunksPerSlice === Number.MAX_SAFE_INTEGER ? 0 : chunksPerSlice * slices.length * chunkBytes
}

/** Two for every slice, as they will stand: a copy that is moved counts where it goes, one that is away where it was. */
function copiesByDevice(map: ClusterMap, poolId: PoolId): Map<string, number> {
  const copies = new Map<string, number>()
  for (const { primary, secondary, joining, left = null } of map.slices.get(poolId) ?? [])
    for (const deviceId of [primary, joining ?? secondary ?? left])
      if (deviceId !== null) copies.set(deviceId, (copies.get(deviceId) ?? 0) + 1)
  return copies
}

/** What a new thick volume could still take. `thinAllocatedBytes`: written to thin volumes, counted once. */
export function freeForVolumesBytes(accounts: PoolAccounts, thinAllocatedBytes: number): number {
  const free = accounts.usableBytes - accounts.thickReservedBytes - thinAllocatedBytes
  return Math.floor(Math.max(0, free) / volumeStepBytes) * volumeStepBytes
}

/**
 * How far clients may fill a device, in chunks. With V usable chunks in the pool every slice may take ceil(V / slices),
 * and the device that much for each of its copies; what thick volumes reserve there is theirs alone.
 */
export function deviceFill(map: ClusterMap, deviceId: string): { thinChunksMax: number; thickChunksMax: number } {
  const device = map.tables.devices.get(deviceId)
  const slices = device && map.slices.get(device.poolId)
  if (!device || !slices || slices.length === 0) return { thinChunksMax: 0, thickChunksMax: 0 }
  let copies = 0
  for (const record of slices) if (copiesOf(record).includes(device.id)) copies++
  const usableChunks = Math.floor(poolAccounts(map, device.poolId).usableBytes / chunkBytes)
  const totalMax = copies * Math.ceil(usableChunks / slices.length)
  let thickChunksMax = 0
  for (const volume of volumesOf(map, device.poolId))
    if (volume.type === 'thick') thickChunksMax += copies * Math.ceil(volume.sizeBytes / chunkBytes / slices.length)
  return { thinChunksMax: Math.max(0, totalMax - thickChunksMax), thickChunksMax }
}

export const volumesOf = (map: ClusterMap, poolId: PoolId): Volume[] =>
  [...map.tables.volumes.values()].filter(volume => volume.poolId === poolId)

/** Bytes of spare that a percentage would leave, for checks before it is set. */
export const accountsWith = (map: ClusterMap, pool: StoragePool): PoolAccounts => {
  const pools = new Map(map.tables.pools).set(pool.id, pool)
  return poolAccounts({ ...map, tables: { ...map.tables, pools } }, pool.id)
}
