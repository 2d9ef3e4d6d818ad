import type { DeviceId } from '../../base/ids.js'
import type { SliceRecord } from '../../model/index.js'

/**
 * Whether what a device has of a slice is no longer its own: two other copies are in sync, so that nobody will ever ask
 * for it, neither by marks (`left`) nor as the only one that is left.
 */
export const isForeign = ({ primary, secondary, joining, left }: SliceRecord, deviceId: DeviceId): boolean =>
  secondary !== null && ![primary, secondary, joining, left].includes(deviceId)

/**
 * Slices of which a device may drop what it has. None, if it has adopted an epoch that the map does not reach: then it is
 * the map that is old (the MDM's data came from a backup), and nothing may be taken from it as final.
 */
export function foreignSlices(records: readonly SliceRecord[], deviceId: DeviceId, epochMax: number): number[] {
  const epochHigh = records.reduce((high, { epoch }) => Math.max(high, epoch), 0)
  if (epochMax > epochHigh) return []
  return records.filter(record => isForeign(record, deviceId)).map(({ slice }) => slice)
}
