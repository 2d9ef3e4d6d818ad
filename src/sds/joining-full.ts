import { numberOfId } from '../base/ids.js'
import type { SliceRecord } from '../model/index.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'

/** The joining copy of `record`, of which `device` is primary, has no room: only another record helps. */
export function noteJoiningFull(context: SdsContext, device: OwnDevice, record: SliceRecord): void {
  if (device.joiningFull.get(record.slice) === record.epoch) return
  device.joiningFull.set(record.slice, record.epoch)
  context.log.warn('sds.joining-full', { deviceId: record.joining, slice: record.slice, epoch: record.epoch })
  context.reportDevices()
}

/** Those that the map has not moved on from, for the MDM. */
export function fullJoinings(context: SdsContext, device: OwnDevice): { slice: number; epoch: number }[] {
  if (device.joiningFull.size === 0) return []
  const poolId = context.tables().devices.get(device.id)?.poolId
  const found: { slice: number; epoch: number }[] = []
  for (const [slice, epoch] of device.joiningFull) {
    const record = poolId && context.view.record(numberOfId(poolId), slice)
    if (record && record.epoch === epoch && record.joining !== null) found.push({ slice, epoch })
    else device.joiningFull.delete(slice)
  }
  return found
}
