import type { DeviceId } from '../../base/ids.js'
import type { Volume } from '../../model/index.js'
import { readyDevices } from '../placement/index.js'
import type { Commands, PoolPlan } from './commands.js'
import { find } from './decider.js'
import { hasVolumes, mapWithDevice, planPool } from './plan.js'
import type { MdmState } from './state.js'

/** Commands that carry a planner's result: made from the state just before they are decided. */

export function buildDeviceReady(
  state: MdmState,
  id: DeviceId,
  found: { capacityBytes: number; path: string },
): Commands['deviceReady'] {
  const device = find(state, 'devices', id)
  const { capacityBytes, path } = found
  const ready = { ...device, state: 'ready' as const, capacityBytes, path }
  const plan = hasVolumes(state.map, device.poolId)
    ? null
    : planPool(state, mapWithDevice(state.map, device, ready), device.poolId)
  return { id, capacityBytes, path, plan }
}

export function buildDeviceGrown(state: MdmState, id: DeviceId, capacityBytes: number): Commands['deviceGrown'] {
  const device = find(state, 'devices', id)
  const plan =
    device.state !== 'ready' || hasVolumes(state.map, device.poolId)
      ? null
      : planPool(state, mapWithDevice(state.map, device, { ...device, capacityBytes }), device.poolId)
  return { id, capacityBytes, plan }
}

export function buildRemoveDevice(state: MdmState, id: DeviceId, thinAllocatedBytes: number): Commands['removeDevice'] {
  const device = find(state, 'devices', id)
  // A pending device is not in the table: the table stays.
  const plan =
    device.state === 'pending' || hasVolumes(state.map, device.poolId)
      ? null
      : planPool(state, mapWithDevice(state.map, device, null), device.poolId)
  return { id, plan, thinAllocatedBytes }
}

export function buildAddVolume(
  state: MdmState,
  want: Pick<Volume, 'poolId' | 'name' | 'sizeBytes' | 'type'>,
  thinAllocatedBytes: number,
): Commands['addVolume'] {
  const { poolId, name, sizeBytes, type } = want
  return { poolId, name, sizeBytes, type, thinAllocatedBytes, plan: firstPlan(state, want) }
}

/** Devices that came while the pool had volumes take their share once it is empty again. */
function firstPlan(state: MdmState, { poolId }: Pick<Volume, 'poolId'>): PoolPlan | null {
  if (hasVolumes(state.map, poolId)) return null
  const placed = new Set<string>()
  for (const { primary, secondary } of state.map.slices.get(poolId) ?? []) {
    placed.add(primary)
    if (secondary !== null) placed.add(secondary)
  }
  const idle = readyDevices(state.map, poolId).some(({ deviceId }) => !placed.has(deviceId))
  return idle ? planPool(state, state.map, poolId) : null
}
