import type { ErrorCode } from '../base/errors.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes } from '../base/units.js'
import { roleOf, sliceKey, sliceOf, type VolumeView } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import { type DataFrame, opcodes } from '../wire/data.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'
import type { Session } from './session.js'

/** `park`: wait until the map has caught up with the request. Everything else refuses it. */
export type Verdict = 'admit' | 'park' | ErrorCode

/**
 * Every check that a client's read, write, trim or zero gets: once when it arrives, and once more when it has its lock,
 * because the configuration may have changed while it waited.
 */
export function checkClientRequest(context: SdsContext, session: Session, frame: DataFrame): Verdict {
  const { view } = context
  const isNewer = frame.mapVersion > view.version
  const mapping = view.mappings.get(frame.mapping)
  if (mapping === undefined || mapping.client !== session.client) return isNewer ? 'park' : 'NOT_MAPPED'
  const { volume } = mapping
  if (volume.number !== frame.volume) return 'NOT_MAPPED'
  if (!mapping.writable && frame.opcode !== opcodes.read) return isNewer ? 'park' : 'READ_ONLY'
  const place = checkPlace(volume, frame, isNewer)
  if (place !== 'admit') return place
  const record = volume.pool.records[frame.slice]
  const verdict = checkEpoch(context, session.device, frame.pool, record, frame.epoch)
  if (verdict !== 'admit') return verdict
  return record!.primary === session.device.id ? 'admit' : 'BAD_REQUEST'
}

/** What a request gets besides when it arrives, and then not again: the slice must be ours to act on. */
export function checkArrival(context: SdsContext, session: Session, frame: DataFrame): Verdict {
  const verdict = checkClientRequest(context, session, frame)
  if (verdict !== 'admit') return verdict
  const { pool, slice } = frame
  return context.leases.mayAct(pool, slice) && !context.drains.has(pool, slice) ? 'admit' : 'park'
}

/** The same for what the primary of the slice, and nobody else, asks of another copy. */
export function checkCopyRequest(context: SdsContext, session: Session, frame: DataFrame): Verdict {
  const { view } = context
  const isNewer = frame.mapVersion > view.version
  const volume = view.volumes.get(frame.volume)
  // A volume that is gone here and not there: the primary is behind, and gets the changes with the refusal.
  if (volume === undefined) return isNewer ? 'park' : 'STALE_EPOCH'
  const place = checkPlace(volume, frame, isNewer)
  return place === 'admit' ? checkPrimary(context, session, frame) : place
}

/** Epoch and sender of a request that concerns a whole slice (`resyncBegin`, `resyncSync`). */
export function checkPrimary(context: SdsContext, session: Session, frame: DataFrame): Verdict {
  const { view } = context
  const record = view.record(frame.pool, frame.slice)
  if (record === undefined) return frame.mapVersion > view.version ? 'park' : 'BAD_REQUEST'
  const verdict = checkEpoch(context, session.device, frame.pool, record, frame.epoch)
  if (verdict !== 'admit') return verdict
  const role = roleOf(record, session.device.id)
  if (role !== 'secondary' && role !== 'joining') return 'BAD_REQUEST'
  return view.sdsOfDevice.get(record.primary) === session.client ? 'admit' : 'BAD_REQUEST'
}

export function checkEpoch(
  context: SdsContext,
  device: OwnDevice,
  pool: number,
  record: SliceRecord | undefined,
  epoch: number,
): Verdict {
  if (!context.isServing || record === undefined || epoch > record.epoch) return 'park'
  if (epoch < record.epoch && !mutate('ignore-the-epoch')) return 'STALE_EPOCH'
  if (!device.holds(pool, record) || context.view.waiting.has(sliceKey(pool, record.slice))) return 'park'
  return 'admit'
}

function checkPlace(volume: VolumeView, frame: DataFrame, isNewer: boolean): Verdict {
  if (volume.pool.number !== frame.pool) return 'BAD_REQUEST'
  if (frame.chunk >= volume.chunkCount) return isNewer ? 'park' : 'BAD_REQUEST'
  if (sliceOf(volume, frame.chunk) !== frame.slice) return 'BAD_REQUEST'
  if (frame.length === 0 || frame.offset + frame.length > chunkBytes) return 'BAD_REQUEST'
  const isWrite = frame.opcode === opcodes.write || frame.opcode === opcodes.copyWrite
  return frame.bodyBytes === (isWrite ? frame.length : 0) ? 'admit' : 'BAD_REQUEST'
}
