import type { DeviceId, SdsId } from '../../base/ids.js'
import type { ClusterMap, SliceRecord } from '../../model/index.js'

/** What a primary reports as complete and durable. */
export interface JoinedCopy {
  slice: number
  epoch: number
  joining: string
}

/**
 * The records in which reported joining copies are in sync. A report is void, and left out, if its slice has moved on,
 * if the joining copy is another one, or if the reporting SDS does not hold the primary.
 */
export function joinedRecords(
  map: ClusterMap,
  records: readonly SliceRecord[],
  sdsId: SdsId,
  joined: readonly JoinedCopy[],
): SliceRecord[] {
  const done: SliceRecord[] = []
  const seen = new Set<number>()
  for (const { slice, epoch, joining } of joined) {
    const record = records[slice]
    if (!record || record.epoch !== epoch || record.joining !== joining || seen.has(slice)) continue
    if (map.tables.devices.get(record.primary)?.sdsId !== sdsId) continue
    seen.add(slice)
    done.push({ ...record, epoch: epoch + 1, secondary: joining as DeviceId, joining: null })
  }
  return done
}
