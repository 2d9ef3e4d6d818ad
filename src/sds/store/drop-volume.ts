import { chunkIndexKey, isReserved, markKey, type VolumeChunks } from '../../core/store/index.js'
import type { Clock } from '../../ports/index.js'
import type { ChangeGate } from './change-gate.js'
import type { Changes } from './changes.js'
import type { ChunkMap } from './chunk-map.js'
import type { StoreDone, StoreError } from './device-store.js'
import type { Eraser } from './eraser.js'
import type { IndexWriter } from './index-writer.js'

/** Index entries per commit: small enough that other writes do not wait noticeably. */
const batchChunks = 1024
/** How often to look whether requests for the volume have finished, or the device takes changes again. */
const waitMs = 20

export interface DropParts {
  map: ChunkMap
  index: IndexWriter
  clock: Clock
  eraser: Eraser
  changes: Changes
  gate: ChangeGate
  /** Why the device takes no more changes, or null. */
  refusal(): StoreError | null
}

/**
 * Removes all chunks and marks of a volume, a batch at a time: no chunk outlives its mark. Nothing new is admitted for it from here on; what is under way is
 * waited for, as its slots will soon be others'.
 */
export function dropChunks(chunks: VolumeChunks, parts: DropParts, done: StoreDone): void {
  chunks.dropping = true
  // Between two batches the device may be marked clean: that must not be undone for this, only for somebody's change.
  const nextBatch = (): void => {
    const refusal = parts.refusal()
    if (refusal !== null) end(refusal)
    else if (chunks.busyNow > 0 || !parts.gate.isOpen) parts.clock.setTimer(waitMs, nextBatch)
    else dropBatch(chunks, parts, batchDone)
  }
  const batchDone = (error: string | null, more: boolean): void => {
    if (error !== null) end({ kind: 'meta', text: error })
    else if (more) parts.clock.setTimer(0, nextBatch)
    else end(null)
  }
  const end = (error: StoreError | null): void => {
    chunks.dropping = false
    if (error === null) parts.map.forgetVolume(chunks.volume)
    done(error)
  }
  nextBatch()
}

function dropBatch(chunks: VolumeChunks, parts: DropParts, done: (error: string | null, more: boolean) => void): void {
  const { map, index, eraser, changes } = parts
  const mapped: number[] = []
  const marked: number[] = []
  for (const { chunk, entry } of chunks.entries()) {
    if (isReserved(entry)) map.freeUnmapped(chunks, chunk)
    else if (mapped.push(chunk) === batchChunks) break
  }
  const isLastChunk = mapped.length < batchChunks
  if (isLastChunk) for (const chunk of chunks.marks.chunks()) if (marked.push(chunk) === batchChunks) break
  changes.enter(chunks)
  let left = mapped.length + marked.length + 1
  let failure: string | null = null
  const one = (): void => {
    left--
    if (left > 0) return
    eraser.kick()
    changes.leave(chunks)
    done(failure, !isLastChunk || marked.length === batchChunks)
  }
  for (const chunk of mapped)
    index.drop(chunkIndexKey(chunks.volume, chunk), text => {
      if (text === null) map.freeMapped(chunks, chunk)
      failure ??= text
      one()
    })
  for (const chunk of marked)
    index.drop(markKey(chunks.volume, chunk), text => {
      if (text === null) chunks.marks.clear(chunk)
      failure ??= text
      one()
    })
  parts.clock.endOfTurn(one)
}
