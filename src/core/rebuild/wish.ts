import { StorageError } from '../../base/errors.js'
import type { DeviceId } from '../../base/ids.js'
import type { SliceRecord } from '../../model/index.js'
import { type PlacementDevice, planSlices } from '../placement/index.js'

/**
 * Where the planner would like the two copies of each slice, for one set of devices. It stands beside the table: fills
 * and swaps bring the table there, one copy at a time.
 */
export interface Wish {
  /** Names the set of devices: another set, another wish. */
  key: string
  primary: readonly DeviceId[]
  secondary: readonly DeviceId[]
}

/** The wish for `devices`; the one so far where nothing has changed; null where two copies cannot be placed on them. */
export function wishFor(
  devices: readonly PlacementDevice[],
  records: readonly SliceRecord[],
  soFar: Wish | null,
): Wish | null {
  const key = devices
    .map(({ deviceId, capacityBytes, faultUnit }) => `${deviceId} ${capacityBytes} ${faultUnit}`)
    .join()
  if (soFar?.key === key && soFar.primary.length === records.length) return soFar
  try {
    const wanted = planSlices(devices, records.length, records.map(settled))
    // The planner leaves the record of a slice as it is where the copy that is missing is being filled in the right place.
    const second = ({ secondary, joining, left }: SliceRecord) => (secondary ?? joining ?? left)!
    return { key, primary: wanted.map(({ primary }) => primary), secondary: wanted.map(second) }
  } catch (error) {
    if (error instanceof StorageError && error.code === 'PLACEMENT') return null
    throw error
  }
}

/** The slice when the fill that is under way is through. */
const settled = (record: SliceRecord): SliceRecord =>
  record.secondary !== null && record.joining !== null
    ? { ...record, secondary: record.joining, joining: null }
    : record

/** The slice's copies, both in sync, stand where they are wished, whatever their roles. */
export const standsAsWished = ({ slice, primary, secondary, joining }: SliceRecord, wish: Wish): boolean =>
  joining === null && secondary !== null && wants(wish, slice, primary) && wants(wish, slice, secondary)

export const wants = (wish: Wish, slice: number, deviceId: DeviceId): boolean =>
  wish.primary[slice] === deviceId || wish.secondary[slice] === deviceId
