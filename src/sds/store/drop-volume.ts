import { chunkIndexKey, isReserved, type VolumeChunks } from '../../core/store/index.js'
import type { Clock } from '../../ports/index.js'
import type { StoreDone, StoreError } from './device-store.js'
import type { IndexWriter } from './index-writer.js'

/** Index entries per commit: small enough that other writes do not wait noticeably. */
const batchChunks = 1024
/** How often to look whether requests for the volume have finished. */
const waitMs = 5

export interface DropParts {
  chunks: VolumeChunks
  index: IndexWriter
  clock: Clock
  /** Why the device takes no more changes, or null. */
  refusal(): StoreError | null
  freeUnmapped(chunk: number): void
  freeMapped(chunk: number): void
  done: StoreDone
}

/**
 * Removes all chunks of a volume, a batch at a time. Nothing was asked for the volume since `dropping` was set; what was
 * under way then is waited for, as its slots will soon be others'.
 */
export function dropChunks(parts: DropParts): void {
  const { chunks, index, clock } = parts
  const todo = chunks.entries()
  const nextBatch = (): void => {
    const refusal = parts.refusal()
    if (refusal !== null) {
      parts.done(refusal)
      return
    }
    if (chunks.busyNow > 0) {
      clock.setTimer(waitMs, nextBatch)
      return
    }
    const mapped: number[] = []
    let ended = false
    while (mapped.length < batchChunks && !ended) {
      const next = todo.next()
      if (next.done) ended = true
      else if (isReserved(next.value.entry)) parts.freeUnmapped(next.value.chunk)
      else mapped.push(next.value.chunk)
    }
    let left = mapped.length
    let failure: string | null = null
    const finishBatch = (): void => {
      if (failure !== null) parts.done({ kind: 'meta', text: failure })
      else if (ended) parts.done(null)
      else clock.setTimer(0, nextBatch)
    }
    if (left === 0) {
      clock.endOfTurn(finishBatch)
      return
    }
    for (const chunk of mapped)
      index.drop(chunkIndexKey(chunks.volume, chunk), text => {
        if (text === null) parts.freeMapped(chunk)
        failure ??= text
        left--
        if (left === 0) finishBatch()
      })
  }
  nextBatch()
}
