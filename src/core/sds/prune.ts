import type { DeviceId } from '../../base/ids.js'
import type { SliceRecord } from '../../model/index.js'

/**
 * Whether what a device has of a slice is no longer its own: two other copies are in sync, so that nobody will ever ask
 * for it, neither by marks (`left`) nor as the only one that is left.
 */
export const isForeign = ({ primary, secondary, joining, left }: SliceRecord, deviceId: DeviceId): boolean =>
  secondary !== null && primary !== deviceId && secondary !== deviceId && joining !== deviceId && left !== deviceId

/**
 * Slices of which a device may drop what it has, from `start` round to it. None, if it has adopted an epoch that the map does
 * not reach: then it is the map that is old (the MDM's data came from a backup), and nothing may be taken from it as final.
 */
export function* foreignSlices(
  records: readonly SliceRecord[],
  deviceId: DeviceId,
  epochMax: number,
  start = 0,
): Generator<number> {
  let epochHigh = 0
  for (const { epoch } of records) if (epoch > epochHigh) epochHigh = epoch
  if (epochMax > epochHigh) return
  for (let i = 0; i < records.length; i++) {
    const record = records[(start + i) % records.length]!
    if (isForeign(record, deviceId)) yield record.slice
  }
}
