import type { DeviceId } from '../../base/ids.js'
import type { SliceRecord } from '../../model/index.js'
import type { SliceChange } from './settle.js'

/** Two copies in sync that are to exchange their roles: decided in this epoch, for no other. */
export interface RoleSwap {
  primary: DeviceId
  slice: number
  epoch: number
}

/** The swaps that would make the secondary primary wherever `isWanted`; slices that fill a third copy stay as they are. */
export function swapsWhere(
  records: readonly SliceRecord[],
  isWanted: (primary: DeviceId, secondary: DeviceId) => boolean,
): RoleSwap[] {
  const swaps: RoleSwap[] = []
  for (const { slice, epoch, primary, secondary, joining } of records)
    if (secondary !== null && joining === null && isWanted(primary, secondary)) swaps.push({ primary, slice, epoch })
  return swaps
}

/** The records with exchanged roles, above every epoch so far; what has moved on since it was decided is left out. */
export function swappedRecords(
  records: readonly SliceRecord[],
  swaps: readonly RoleSwap[],
  epochFloor: number,
): SliceChange[] {
  const changes: SliceChange[] = []
  for (const { slice, epoch } of swaps) {
    const record = records[slice]
    if (record?.epoch !== epoch || record.secondary === null || record.joining !== null) continue
    const { primary, secondary } = record
    const above = Math.max(epoch, epochFloor) + 1
    changes.push({ replaces: epoch, record: { ...record, primary: secondary, secondary: primary, epoch: above } })
  }
  return changes
}
