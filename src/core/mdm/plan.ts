import { assert } from '../../base/assert.js'
import { StorageError } from '../../base/errors.js'
import type { PoolId } from '../../base/ids.js'
import { type ClusterMap, type Device, type MapChange, type StoragePool, volumeIndexOf } from '../../model/index.js'
import { checkSlices, planSlices, readyDevices } from '../placement/index.js'
import type { PoolPlan } from './commands.js'
import { put } from './decider.js'
import { withWaiting } from './settlement.js'
import type { MdmState } from './state.js'

/** The map with one device changed (`after` null: without it), for planning and for checks before the change is made. */
export function mapWithDevice(map: ClusterMap, before: Device, after: Device | null): ClusterMap {
  const devices = new Map(map.tables.devices)
  if (after) devices.set(after.id, after)
  else devices.delete(before.id)
  return { ...map, tables: { ...map.tables, devices } }
}

export const hasVolumes = (map: ClusterMap, poolId: PoolId): boolean =>
  (volumeIndexOf(map.tables.volumes).pools.get(poolId)?.count ?? 0) > 0

/**
 * Plans the whole table of a pool that holds no data. Every slice gets an epoch above all that the pool ever had, so that
 * whatever devices remember of former tables is older.
 */
export function planPool(state: MdmState, map: ClusterMap, poolId: PoolId): PoolPlan {
  const pool = map.tables.pools.get(poolId)
  assert(pool, 'a pool is planned while it exists')
  assert(!hasVolumes(map, poolId), 'only a pool without volumes is planned afresh')
  const devices = readyDevices(map, poolId)
  const epoch = (state.epochHigh.get(poolId) ?? 0) + 1
  try {
    const slices = planSlices(devices, pool.sliceCount, null)
    return { slices: slices.map(record => ({ ...record, epoch })) }
  } catch (error) {
    if (error instanceof StorageError && error.code === 'PLACEMENT') return { slices: null }
    throw error
  }
}

/** The changes that put a plan in effect, once it has been checked against the devices as they then are. */
export function planChanges(state: MdmState, map: ClusterMap, pool: StoragePool, plan: PoolPlan): MapChange[] {
  if (plan.slices === null) return state.map.slices.has(pool.id) ? [{ kind: 'dropSlices', poolId: pool.id }] : []
  checkSlices(readyDevices(map, pool.id), pool.sliceCount, plan.slices)
  const known = state.epochHigh.get(pool.id) ?? 0
  if (plan.slices.some(({ epoch }) => epoch <= known))
    throw new StorageError('PLACEMENT', { detail: 'the slice table was planned before another one took effect' })
  const changes: MapChange[] = [{ kind: 'slices', poolId: pool.id, slices: plan.slices }]
  // A new table of an empty pool: nobody waits for anybody's data.
  for (const device of map.tables.devices.values())
    if (device.poolId === pool.id && device.waiting) changes.push(put('devices', withWaiting(device, null)))
  return changes
}
