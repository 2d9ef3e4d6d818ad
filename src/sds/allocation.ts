import { MiB } from '../base/units.js'
import { roleOf, sliceKey, sliceOf } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { DataFrame } from '../wire/data.js'
import type { Verdict } from './admission.js'
import type { Session } from './session.js'

/** Two bitmaps of this many chunks fit into one answer. */
export const allocationChunksMax = 4 * MiB

export function checkAllocation(session: Session, frame: DataFrame): Verdict {
  const { view, isServing } = session.context
  const isNewer = frame.mapVersion > view.version
  if (!isServing) return 'park'
  const volume = view.volumes.get(frame.volume)
  if (volume === undefined) return isNewer ? 'park' : 'NOT_MAPPED'
  if (session.kind === 'sdc') {
    const mapping = view.mappings.get(frame.mapping)
    if (mapping?.client !== session.client || mapping.volume !== volume) return isNewer ? 'park' : 'NOT_MAPPED'
  }
  if (frame.length === 0 || frame.length > allocationChunksMax) return 'BAD_REQUEST'
  if (frame.chunk + frame.length > volume.chunkCount) return isNewer ? 'park' : 'BAD_REQUEST'
  return 'admit'
}

/** For an SDC as far as this device is the primary; for an SDS that compares copies, as far as it is a copy. */
export function answerAllocation(session: Session, frame: DataFrame): void {
  const { device, context } = session
  const volume = context.view.volumes.get(frame.volume)!
  const bytes = Math.ceil(frame.length / 8)
  const answered = Buffer.alloc(bytes)
  const allocated = Buffer.alloc(bytes)
  for (let i = 0; i < frame.length; i++) {
    const chunk = frame.chunk + i
    const record = volume.pool.records[sliceOf(volume, chunk)]
    if (record === undefined || !isSettled(session, volume.pool.number, record)) continue
    const role = roleOf(record, device.id)
    if (role === 'none' || (role !== 'primary' && session.kind !== 'sds')) continue
    // What a hole is now is a read like any other: the client asks again.
    if (session.kind === 'sdc' && !isShown(session, volume.pool.number, record)) continue
    const bit = 1 << (i & 7)
    answered[i >> 3]! |= bit
    if (device.store.has(volume.number, chunk)) allocated[i >> 3]! |= bit
  }
  session.answer(frame, [answered, allocated])
}

const isShown = ({ context }: Session, pool: number, record: SliceRecord): boolean =>
  context.leases.mayAct(pool, record.slice) && context.leases.holdsAll(record)

const isSettled = ({ device, context }: Session, pool: number, record: SliceRecord): boolean =>
  device.holds(pool, record) && !context.view.waiting.has(sliceKey(pool, record.slice))
