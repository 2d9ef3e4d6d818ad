import type { ErrorCode } from '../base/errors.js'
import { chunkKey } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { roleOf } from '../core/sds/index.js'
import { type DataFrame, opcodes } from '../wire/data.js'
import { checkPrimary, type Verdict } from './admission.js'
import { ChunkDrop, type DropOwner } from './chunk-drop.js'
import { decodePairs, encodePairs, hasPairs, pairsMax } from './chunk-pairs.js'
import type { Session } from './session.js'
import { allocatedChunks, marksOfSlice } from './slice-chunks.js'
import { codeOfStoreError } from './store-error.js'

/** The joining copy's side of `resyncBegin` and `resyncSync`. */
export function checkResync(session: Session, frame: DataFrame): Verdict {
  if (frame.opcode === opcodes.resyncBegin && !hasPairs(frame)) return 'BAD_REQUEST'
  const verdict = checkPrimary(session.context, session, frame)
  if (verdict !== 'admit') return verdict
  const record = session.context.view.record(frame.pool, frame.slice)!
  return roleOf(record, session.device.id) === 'joining' ? 'admit' : 'BAD_REQUEST'
}

/**
 * Drops every chunk of the slice that the primary does not have. Which ones is decided, and their locks are asked for,
 * before anything that came later on this session: a chunk that the primary allocates from now on is not among them.
 */
export function beginResync(session: Session, frame: DataFrame): void {
  const keep = new Set(decodePairs(frame).map(({ volume, chunk }) => chunkKey(volume, chunk)))
  new SliceClearing(session, frame).start(keep)
}

class SliceClearing implements DropOwner {
  #left = 1
  #code: ErrorCode | null = null

  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {}

  start(keep: ReadonlySet<number>): void {
    const { context, device } = this.session
    const pool = context.view.pools.get(this.frame.pool)!
    for (const { volume, chunk } of allocatedChunks(context, device, pool, this.frame.slice)) {
      if (keep.has(chunkKey(volume, chunk)) || mutate('keep-what-the-primary-has-not')) continue
      this.#left++
      new ChunkDrop(context, device, this, volume, chunk).start()
    }
    this.dropped(null)
  }

  /** Not any more once the record has moved on: then the chunk may be needed. */
  get isDue(): boolean {
    return checkResync(this.session, this.frame) === 'admit'
  }

  dropped(code: ErrorCode | null): void {
    this.#code ??= code
    if (--this.#left > 0) return
    if (this.#code !== null) this.session.refuse(this.frame, this.#code)
    else if (!this.isDue) this.session.refuse(this.frame, 'NOT_READY')
    else this.session.answer(this.frame)
  }
}

/**
 * Everything of the slice is durable before the answer, the epoch too. The answer names the chunks that the copy has, so
 * that the primary can compare before it reports the copy as complete.
 */
export function syncResync(session: Session, frame: DataFrame): void {
  const { context, device } = session
  device.store.sync(error => {
    if (error !== null) return session.refuse(frame, codeOfStoreError(context, error))
    const verdict = checkResync(session, frame)
    if (verdict !== 'admit') return session.refuse(frame, verdict === 'park' ? 'NOT_READY' : verdict)
    const chunks = allocatedChunks(context, device, context.view.pools.get(frame.pool)!, frame.slice)
    session.answer(frame, [encodePairs(chunks.slice(0, pairsMax))])
  })
}

export const checkMarks = (session: Session, frame: DataFrame): Verdict => checkPrimary(session.context, session, frame)

/** What this copy has marked of the slice, with what is on its way to its mark. */
export function answerMarks(session: Session, frame: DataFrame): void {
  const { context, device } = session
  const marks = marksOfSlice(context, device, context.view.pools.get(frame.pool)!, frame.slice)
  if (marks.length > pairsMax) session.refuse(frame, 'BAD_REQUEST')
  else session.answer(frame, [encodePairs(marks)])
}
