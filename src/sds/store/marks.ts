import { chunkKey } from '../../base/ids.js'
import { mutate } from '../../base/mutation.js'
import {
  type ChunkTable,
  markKey,
  markValue,
  touchAfter,
  touchAtOpening,
  type VolumeChunks,
} from '../../core/store/index.js'
import type { IdleMark } from '../../core/store/mark-table.js'
import type { Clock } from '../../ports/index.js'
import type { Activity } from './activity.js'
import type { StoreDone } from './device-store.js'
import type { Health } from './health.js'
import type { IndexWriter } from './index-writer.js'

export interface MarksParts {
  chunks: ChunkTable
  index: IndexWriter
  health: Health
  activity: Activity
  clock: Clock
}

/** A mark on its way to the device, and the changes that wait for it. */
interface Pending {
  chunks: VolumeChunks
  chunk: number
  waiting: StoreDone[]
  error: string | null
}

/**
 * Write-intent marks on their way to the device and off it (design section 5, rule 4). All marks of one turn are one
 * commit and one flush; a change waits until its chunk's mark is durable.
 *
 * Marks are put and dropped in the order of the calls, and commits become durable in their order: so a chunk that is
 * changed again after its mark was cleared has it durably again, whatever became of the clearing.
 */
export class Marks {
  private readonly pending = new Map<number, Pending>()
  private batch: Pending[] = []
  private lastTouch = touchAtOpening
  private readonly flush = () => this.flushBatch()

  constructor(private readonly parts: MarksParts) {}

  /** The name of a change that begins now. */
  nextTouch(): number {
    this.lastTouch = touchAfter(this.lastTouch, this.parts.clock.nowMs())
    return this.lastTouch
  }

  /**
   * `done` when the chunk is durably marked, or the index refuses it, or the device has failed: the caller asks again.
   * Never called before this returns.
   */
  add(chunks: VolumeChunks, chunk: number, done: StoreDone): void {
    const key = chunkKey(chunks.volume, chunk)
    const pending = this.pending.get(key)
    if (pending === undefined) this.begin(key, { chunks, chunk, waiting: [done], error: null })
    else pending.waiting.push(done)
  }

  isPending(volume: number, chunk: number): boolean {
    return this.pending.has(chunkKey(volume, chunk))
  }

  /** Clears the marks of chunks that nothing has touched since; returns how many. `done` when that is visible. */
  remove(list: readonly IdleMark[], done: StoreDone): number {
    const { chunks: table, index, clock, activity } = this.parts
    activity.enter()
    let left = 1
    let failure: string | null = null
    const one = (): void => {
      left--
      if (left > 0) return
      done(failure === null ? null : { kind: 'meta', text: failure })
      activity.leave()
    }
    for (const { volume, chunk, touch } of list) {
      const chunks = table.find(volume)
      if (chunks === undefined || chunks.dropping || !mayClear(chunks, chunk, touch)) continue
      left++
      // From here on the next change marks again. Where the index refuses, its mark stays: one too many, which is safe.
      chunks.marks.clear(chunk)
      index.drop(markKey(volume, chunk), text => {
        failure ??= text
        one()
      })
    }
    const removed = left - 1
    clock.endOfTurn(one)
    return removed
  }

  private begin(key: number, mark: Pending): void {
    const { index, activity, clock } = this.parts
    this.pending.set(key, mark)
    mark.chunks.busyNow++
    activity.enter()
    if (!mutate('drop-the-write-intent-mark'))
      index.put(markKey(mark.chunks.volume, mark.chunk), markValue, text => {
        mark.error = text
        if (mutate('await-a-visible-mark')) this.end(mark)
      })
    if (this.batch.push(mark) === 1) clock.endOfTurn(this.flush)
  }

  private flushBatch(): void {
    const marks = this.batch
    this.batch = []
    this.parts.index.flush(text => {
      // Where the index refused the marks, there was nothing to flush: the changes fail, the device goes on.
      if (text !== null && marks.some(({ error }) => error === null)) this.parts.health.indexFailed(text)
      for (const mark of marks) this.end(mark)
    })
  }

  private end(mark: Pending): void {
    const { chunks, chunk, error } = mark
    const key = chunkKey(chunks.volume, chunk)
    if (this.pending.get(key) !== mark) return
    this.pending.delete(key)
    chunks.busyNow--
    if (error === null && this.parts.health.error === null) chunks.marks.set(chunk, this.nextTouch())
    for (const done of mark.waiting) done(error === null ? null : { kind: 'meta', text: error })
    this.parts.activity.leave()
  }
}

function mayClear({ marks }: VolumeChunks, chunk: number, touch: number): boolean {
  if (mutate('clear-a-mark-that-was-touched')) return marks.isMarked(chunk) && marks.touchOf(chunk) !== null
  return touch > 0 && marks.touchOf(chunk) === touch
}
