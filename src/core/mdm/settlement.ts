import type { DeviceId } from '../../base/ids.js'
import type { Device, MapChange, SliceRecord } from '../../model/index.js'
import { checkRecord, holdingDevices } from '../placement/index.js'
import type { Settlement } from '../slices/index.js'
import { put } from './decider.js'
import type { MdmState } from './state.js'

/**
 * The changes of a settlement, checked: a record whose predecessor has moved on is void and left out (rule 1). `moved`:
 * devices that are put in the same entry for another reason.
 */
export function settlementChanges(
  state: MdmState,
  settlement: Settlement,
  moved: ReadonlyMap<DeviceId, Device>,
): MapChange[] {
  const changes: MapChange[] = []
  for (const { poolId, changes: wanted } of settlement.slices) {
    const current = state.map.slices.get(poolId) ?? []
    const units = new Map(
      holdingDevices(state.map, poolId).map(device => [device.deviceId as string, device.faultUnit]),
    )
    const slices: SliceRecord[] = []
    for (const { replaces, record } of wanted) {
      const old = current[record.slice]
      if (!old || old.epoch !== replaces || record.epoch <= replaces || record.lossEpoch < old.lossEpoch) continue
      checkRecord(units, record)
      slices.push(record)
    }
    if (slices.length > 0) changes.push({ kind: 'slices', poolId, slices })
  }
  const devices = new Map(moved)
  for (const { deviceId, waiting } of settlement.waiting) {
    const device = devices.get(deviceId) ?? state.map.tables.devices.get(deviceId)
    if (!device) continue
    devices.set(deviceId, withWaiting(device, waiting))
  }
  for (const device of devices.values()) changes.push(put('devices', device))
  return changes
}

export function withWaiting(device: Device, waiting: Device['waiting'] | null): Device {
  const { waiting: _, ...rest } = device
  return waiting ? { ...rest, waiting } : rest
}
