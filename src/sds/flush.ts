import { roleOf, sliceKey } from '../core/sds/index.js'
import type { DataFrame } from '../wire/data.js'
import type { Verdict } from './admission.js'
import type { Session } from './session.js'
import { codeOfStoreError } from './store-error.js'

const pairBytes = 8

/**
 * A flush names the slices and epochs that it covers; this device must be a copy in each of them, in that very epoch.
 * Otherwise the client would take as durable what another copy was to keep.
 */
export function checkFlush(session: Session, frame: DataFrame): Verdict {
  const { context, device } = session
  if (frame.bodyBytes % pairBytes !== 0) return 'BAD_REQUEST'
  if (!context.isServing) return 'park'
  const pairs = wholeBody(frame)
  let waits = false
  for (let at = 0; at < pairs.length; at += pairBytes) {
    const slice = pairs.readUInt32BE(at)
    const epoch = pairs.readUInt32BE(at + 4)
    const record = context.view.record(frame.pool, slice)
    if (record === undefined || epoch > record.epoch) waits = true
    else if (epoch < record.epoch) return 'STALE_EPOCH'
    else if (roleOf(record, device.id) === 'none') return 'BAD_REQUEST'
    else if (!device.holds(frame.pool, record) || context.view.waiting.has(sliceKey(frame.pool, slice))) waits = true
  }
  return waits ? 'park' : 'admit'
}

export function flush(session: Session, frame: DataFrame): void {
  session.device.store.sync(error => {
    if (error !== null) {
      const code = codeOfStoreError(session.context, error, session.device)
      // Where other copies have it all, the records are about to go on without this device: the client asks again.
      return session.refuse(frame, code === 'MEDIA_ERROR' && othersHave(session, frame) ? 'NOT_READY' : code)
    }
    session.context.counters.flushes++
    session.answer(frame)
  })
}

/** Whether this device is the last copy in sync of none of the slices. */
function othersHave({ context, device }: Session, frame: DataFrame): boolean {
  const pairs = wholeBody(frame)
  for (let at = 0; at < pairs.length; at += pairBytes) {
    const record = context.view.record(frame.pool, pairs.readUInt32BE(at))
    if (record?.primary === device.id && record.secondary === null) return false
  }
  return true
}

/** The structured bodies of rare requests are read in one piece. */
export const wholeBody = (frame: DataFrame): Buffer =>
  frame.body.length === 1 ? frame.body[0]! : Buffer.concat(frame.body)
