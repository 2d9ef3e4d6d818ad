import type { ErrorCode } from '../base/errors.js'
import { numberOfId, type PoolId } from '../base/ids.js'
import { firstChunkIn, foreignSlices, isForeign, type PoolView, sliceKey } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import { ChunkDrop, type DropOwner } from './chunk-drop.js'
import type { ChunkName } from './chunk-pairs.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'
import { allocatedChunks } from './slice-chunks.js'

const roundMs = 200
/** Between looks for slices that are no longer its own, while there are none. */
const lookMs = 5_000
const slicesAtOnce = 16
const chunksAtOnce = 64

/**
 * Drops what a device still has of slices that are no longer its own (design section 5, rule 5), in the background and a few
 * chunks at a time. Only by the map of an MDM that has confirmed this process, and slice by slice only once both copies
 * elsewhere are in sync: until then what is here may be the copy that left, or the last one that there is.
 */
export class Pruning {
  /** Records by which a slice was found empty here. */
  /** Where the next round goes on. */
  #start = 0
  readonly #empty = new Map<number, SliceRecord>()
  #timer: Timer | null = null
  #isClosed = false

  constructor(
    readonly context: SdsContext,
    readonly device: OwnDevice,
  ) {
    this.#next(lookMs)
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  /** What the device is not a copy of, by the newest map, and may say so. */
  recordToPrune(pool: PoolView, slice: number): SliceRecord | null {
    const { view, isServing, isStopping } = this.context
    const record = view.record(pool.number, slice)
    if (this.#isClosed || !isServing || isStopping || record === undefined || this.device.store.failed !== null)
      return null
    if (view.waiting.has(sliceKey(pool.number, slice)) || !isForeign(record, this.device.id)) return null
    return record
  }

  sliceDone(pool: PoolView, record: SliceRecord, isEmpty: boolean): void {
    if (isEmpty) this.#empty.set(sliceKey(pool.number, record.slice), record)
  }

  #next(delayMs: number): void {
    this.#timer = this.context.clock.setTimer(delayMs, () => {
      if (this.#isClosed) return
      const isIdle = this.#round()
      this.#next(isIdle ? lookMs : roundMs)
    })
  }

  /** True if there was nothing to do. */
  #round(): boolean {
    const pool = this.#pool()
    if (pool === undefined || !this.context.isServing || !this.device.registered) return true
    let chunksLeft = chunksAtOnce
    let slicesLeft = slicesAtOnce
    for (const slice of foreignSlices(pool.records, this.device.id, this.device.store.epochMax(), this.#start)) {
      const record = this.recordToPrune(pool, slice)
      if (record === null || this.#empty.get(sliceKey(pool.number, slice)) === record) continue
      if (slicesLeft-- === 0 || chunksLeft <= 0) {
        this.#start = slice
        return false
      }
      chunksLeft -= new SlicePruning(this, pool, record).start(chunksLeft)
    }
    return slicesLeft === slicesAtOnce
  }

  #pool(): PoolView | undefined {
    const device = this.context.tables().devices.get(this.device.id)
    if (device === undefined || device.state === 'pending') return undefined
    return this.context.view.pools.get(numberOfId(device.poolId as PoolId))
  }
}

/** One batch of one slice. */
class SlicePruning implements DropOwner {
  #left = 1
  #isGood = true
  #chunks: ChunkName[] = []
  #isLast = false

  constructor(
    readonly pruning: Pruning,
    readonly pool: PoolView,
    readonly record: SliceRecord,
  ) {}

  /** Returns how many chunks it drops. */
  start(chunksMax: number): number {
    const { context, device } = this.pruning
    const found = allocatedChunks(context, device, this.pool, this.record.slice)
    this.#isLast = found.length <= chunksMax
    this.#chunks = found.slice(0, chunksMax)
    this.#left += this.#chunks.length
    for (const { volume, chunk } of this.#chunks) new ChunkDrop(context, device, this, volume, chunk).start()
    this.#oneDone()
    return this.#chunks.length
  }

  get isDue(): boolean {
    return this.pruning.recordToPrune(this.pool, this.record.slice) !== null
  }

  dropped(code: ErrorCode | null): void {
    if (code !== null || !this.isDue) this.#isGood = false
    else this.pruning.context.counters.chunksPruned++
    this.#oneDone()
  }

  #oneDone(): void {
    if (--this.#left > 0) return
    if (this.#isGood && this.#isLast && this.isDue) this.#unmark()
  }

  /** Nobody will ever ask for its marks: should the device become a copy again, it gets everything. */
  #unmark(): void {
    const { store } = this.pruning.device
    const { view } = this.pruning.context
    const marks = view.volumesOf(this.pool).flatMap(({ number: volume, chunkCount, pool }) => {
      const first = firstChunkIn(view.volumes.get(volume)!, this.record.slice)
      return store
        .markedOf(volume, first, chunkCount, pool.sliceCount)
        .map(chunk => ({ volume, chunk, touch: store.touchOf(volume, chunk) }))
        .filter((mark): mark is ChunkName & { touch: number } => mark.touch !== null)
    })
    store.unmark(marks, error => this.pruning.sliceDone(this.pool, this.record, error === null))
  }
}
