import { chunkKey, type DeviceId } from '../../base/ids.js'
import { mutate } from '../../base/mutation.js'
import type { SliceRecord } from '../../model/index.js'

/** A chunk that is marked, and the name of its last change. */
export interface MarkedChunk {
  volume: number
  chunk: number
  touch: number
}

/** Marks go only while both copies of the record are in sync and none joins, and by its primary alone. */
export const mayClearMarks = (record: SliceRecord | undefined, deviceId: DeviceId): boolean =>
  record?.primary === deviceId && record.secondary !== null && record.joining === null

/** Marks of one slice, with the record under which they were chosen. */
export interface SliceMarks {
  pool: number
  record: SliceRecord
  marks: MarkedChunk[]
}

/** Marks by the copy that has to sync with us, and by slice. */
export function marksBySecondary(
  marks: readonly MarkedChunk[],
  placeOf: (mark: MarkedChunk) => { pool: number; record: SliceRecord },
): Map<DeviceId, SliceMarks[]> {
  const found = new Map<DeviceId, Map<SliceRecord, SliceMarks>>()
  for (const mark of marks) {
    const { pool, record } = placeOf(mark)
    const secondary = record.secondary!
    const slices = found.get(secondary) ?? new Map<SliceRecord, SliceMarks>()
    found.set(secondary, slices)
    const slice = slices.get(record) ?? { pool, record, marks: [] }
    slices.set(record, slice)
    slice.marks.push(mark)
  }
  return new Map([...found].map(([secondary, slices]) => [secondary, [...slices.values()]]))
}

/** Those that nothing changes now and nothing has changed since they were chosen. */
export function stillIdle(
  marks: readonly MarkedChunk[],
  touchOf: (volume: number, chunk: number) => number | null,
  busy: ReadonlySet<number>,
): MarkedChunk[] {
  if (mutate('clear-a-mark-that-was-touched')) return [...marks]
  return marks.filter(
    ({ volume, chunk, touch }) => touchOf(volume, chunk) === touch && !busy.has(chunkKey(volume, chunk)),
  )
}

/**
 * Marks of the other copy for which the primary has none: it was told of their end and did not hear it, or was filled
 * whole. Where the primary is not changing the chunk, both copies had everything synced when the primary's mark went.
 */
export function strayMarks<Name extends { volume: number; chunk: number }>(
  theirs: readonly Name[],
  touchOf: (volume: number, chunk: number) => number | null,
  busy: ReadonlySet<number>,
): Name[] {
  return theirs.filter(({ volume, chunk }) => touchOf(volume, chunk) === 0 && !busy.has(chunkKey(volume, chunk)))
}
