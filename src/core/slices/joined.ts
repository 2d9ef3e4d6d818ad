import type { DeviceId, SdsId } from '../../base/ids.js'
import type { ClusterMap, SliceRecord } from '../../model/index.js'

/** What a primary reports as complete and durable. */
export interface JoinedCopy {
  slice: number
  epoch: number
  joining: string
}

/**
 * The records in which reported joining copies are in sync; where there was a secondary beside it, the same entry drops
 * that one (a move). Every epoch goes above `epochFloor`. A report is void, and left out, if its slice has moved on,
 * if the joining copy is another one, or if the reporting SDS does not hold the primary.
 */
export function joinedRecords(
  map: ClusterMap,
  records: readonly SliceRecord[],
  sdsId: SdsId,
  joined: readonly JoinedCopy[],
  epochFloor = 0,
): SliceRecord[] {
  const done: SliceRecord[] = []
  const seen = new Set<number>()
  for (const { slice, epoch, joining } of joined) {
    const record = records[slice]
    if (!record || record.epoch !== epoch || record.joining !== joining || seen.has(slice)) continue
    if (map.tables.devices.get(record.primary)?.sdsId !== sdsId) continue
    seen.add(slice)
    const above = Math.max(epoch, epochFloor) + 1
    done.push({ ...record, epoch: above, secondary: joining as DeviceId, joining: null, left: null })
  }
  return done
}
