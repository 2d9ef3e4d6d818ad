import { chunkKey } from '../base/ids.js'
import { type MarkedChunk, roleOf } from '../core/sds/index.js'
import type { DataFrame } from '../wire/data.js'
import { checkPrimary, type Verdict } from './admission.js'
import { decodePairs, hasPairs } from './chunk-pairs.js'
import type { Session } from './session.js'
import { codeOfStoreError } from './store-error.js'

/** Only in the very epoch in which the primary decided it, with two copies in sync and nobody joining. */
export function checkUnmark(session: Session, frame: DataFrame): Verdict {
  if (!hasPairs(frame)) return 'BAD_REQUEST'
  const verdict = checkPrimary(session.context, session, frame)
  if (verdict !== 'admit') return verdict
  const record = session.context.view.record(frame.pool, frame.slice)!
  return roleOf(record, session.device.id) === 'secondary' && record.joining === null ? 'admit' : 'BAD_REQUEST'
}

/**
 * The secondary's side of clearing marks. The primary says that it has nothing under way in these chunks and has synced
 * all. What it asked for before this request has arrived before it, on the same connection (and is not overtaken by it
 * among what waits for the map): a change of such a chunk that is not done here keeps its mark. What it asks for later
 * comes later and touches the mark, so that it stays, or finds no mark and sets one. As for durability this copy takes
 * nobody's word: it syncs once more, for nothing if nothing has changed, and clears what was not touched since.
 */
export function copyUnmark(session: Session, frame: DataFrame): void {
  const { store } = session.device
  const busy = session.device.chunksBeingChanged()
  const marks: MarkedChunk[] = []
  for (const { volume, chunk } of decodePairs(frame)) {
    const touch = store.touchOf(volume, chunk)
    if (touch === null || touch === 0 || busy.has(chunkKey(volume, chunk))) continue
    marks.push({ volume, chunk, touch })
  }
  if (marks.length === 0) {
    session.answer(frame)
    return
  }
  store.sync(error => {
    if (error !== null) return session.refuse(frame, codeOfStoreError(session.context, error))
    const verdict = checkUnmark(session, frame)
    if (verdict !== 'admit') return session.refuse(frame, verdict === 'park' ? 'NOT_READY' : verdict)
    session.context.counters.marksCleared += store.unmark(marks, () => session.answer(frame))
  })
}
