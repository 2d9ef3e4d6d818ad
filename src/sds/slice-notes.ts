import { numberOfId } from '../base/ids.js'
import type { SliceRecord } from '../model/index.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'

/** What a device has to tell the MDM about single slices, again and again until their records have changed. */
export interface SliceNote {
  slice: number
  epoch: number
}

/** The joining copy of `record`, of which `device` is primary, has no room: only another record helps. */
export function noteJoiningFull(context: SdsContext, device: OwnDevice, record: SliceRecord): void {
  if (!note(device.joiningFull, record)) return
  context.log.warn('sds.joining-full', { deviceId: record.joining, slice: record.slice, epoch: record.epoch })
  context.reportDevices()
}

/**
 * `device` lost the primary's role while changes that it had begun were unfinished, and is still in sync in `record`: their
 * bytes may be on it alone, and nobody may ever send them again. Whichever copy is secondary is to leave, and to be filled
 * by the marks. A planned swap drains the slice first, so that this happens only where its entry came after the drain had
 * lapsed.
 */
export function noteUnsound(context: SdsContext, device: OwnDevice, record: SliceRecord): void {
  if (!isOneOfTwo(record, device) || !note(device.unsound, record)) return
  context.log.warn('sds.unsound', { deviceId: device.id, slice: record.slice, epoch: record.epoch })
  context.reportDevices()
}

export const fullJoinings = (context: SdsContext, device: OwnDevice): SliceNote[] =>
  current(context, device, device.joiningFull, record => record.joining !== null)

export const unsoundSlices = (context: SdsContext, device: OwnDevice): SliceNote[] =>
  current(context, device, device.unsound, record => isOneOfTwo(record, device))

const isOneOfTwo = ({ primary, secondary }: SliceRecord, { id }: OwnDevice): boolean =>
  secondary !== null && (primary === id || secondary === id)

/** False: noted before. */
function note(notes: Map<number, number>, { slice, epoch }: SliceRecord): boolean {
  if (notes.get(slice) === epoch) return false
  notes.set(slice, epoch)
  return true
}

/** Those that the map has not moved on from; the others are forgotten. */
function current(
  context: SdsContext,
  device: OwnDevice,
  notes: Map<number, number>,
  holds: (record: SliceRecord) => boolean,
): SliceNote[] {
  if (notes.size === 0) return []
  const poolId = context.tables().devices.get(device.id)?.poolId
  const found: SliceNote[] = []
  for (const [slice, epoch] of notes) {
    const record = poolId && context.view.record(numberOfId(poolId), slice)
    if (record && record.epoch === epoch && holds(record)) found.push({ slice, epoch })
    else notes.delete(slice)
  }
  return found
}
