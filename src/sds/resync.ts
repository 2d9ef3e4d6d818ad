import { chunkKey, type DeviceId, type PoolId } from '../base/ids.js'
import { firstChunkIn, type PoolView, sliceKey, sliceOf } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'
import { SliceFill } from './slice-fill.js'

/** Slices that one device fills at the same time; together with the pieces of each, what clients compete with. */
const slicesAtOnce = 4
const pauseMs = 200

export interface JoinedSlice {
  slice: number
  epoch: number
  joining: DeviceId
}

/** Fills the joining copies of the slices of which one device is primary (design section 5, rule 5). */
export class Resync {
  /** By slice key: everything that is still to be reported. */
  readonly #fills = new Map<number, SliceFill>()
  readonly #queue: SliceFill[] = []
  #running = 0
  #timer: Timer | null = null
  #isClosed = false

  constructor(
    readonly context: SdsContext,
    readonly device: OwnDevice,
    /** The slice is complete and durable on its joining copy. */
    readonly onJoined: (poolId: PoolId, joined: JoinedSlice) => void,
  ) {}

  get chunksLeft(): number {
    let left = 0
    for (const fill of this.#fills.values()) left += fill.chunksLeft
    return left
  }

  /** The map changed: what is to be filled is whatever the records say now. */
  update(): void {
    if (this.#isClosed) return
    const { view } = this.context
    for (const [key, fill] of this.#fills)
      if (view.record(fill.pool.number, fill.record.slice) !== fill.record || view.waiting.has(key)) this.#forget(key)
    for (const pool of view.pools.values())
      for (const record of pool.records) if (record.primary === this.device.id) this.#consider(pool, record)
    this.#run()
  }

  /** The session with a joining copy is up. */
  peerUp(): void {
    this.#run()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    for (const key of [...this.#fills.keys()]) this.#forget(key)
  }

  /** `isDone`: complete and durable. Else it starts over, if the record still wants it. */
  ended(fill: SliceFill, isDone: boolean): void {
    this.#running--
    if (this.#fills.get(sliceKey(fill.pool.number, fill.record.slice)) === fill) {
      const { slice, epoch } = fill.record
      if (isDone) this.onJoined(fill.pool.id, { slice, epoch, joining: fill.joining })
      else {
        this.context.log.debug('sds.resync-restart', { deviceId: this.device.id, slice, epoch })
        this.#queue.push(fill)
        this.#runLater()
      }
    }
    this.#run()
  }

  /** The copying is over, only the sync is awaited: others may begin, so that many share one sync. */
  syncing(): void {
    this.#running--
    this.#run()
  }
  /** The sync is over, well or not: `ended` follows. */
  syncEnded(): void {
    this.#running++
  }

  #consider(pool: PoolView, record: SliceRecord): void {
    const key = sliceKey(pool.number, record.slice)
    if (record.joining === null || this.#fills.has(key) || this.context.view.waiting.has(key)) return
    if (!this.device.holds(pool.number, record)) return
    const fill = new SliceFill(this, pool, record, record.joining)
    this.#fills.set(key, fill)
    this.#queue.push(fill)
  }

  #forget(key: number): void {
    const fill = this.#fills.get(key)!
    this.#fills.delete(key)
    const at = this.#queue.indexOf(fill)
    if (at >= 0) this.#queue.splice(at, 1)
    fill.cancel()
  }

  #run(): void {
    if (this.#isClosed || !this.context.isServing) return
    for (let tries = this.#queue.length; tries > 0 && this.#running < slicesAtOnce; tries--) {
      const fill = this.#queue.shift()!
      if (this.context.peers.isUp(fill.joining)) {
        this.#running++
        fill.start()
      } else {
        this.context.peers.of(fill.joining).connect()
        this.#queue.push(fill)
      }
    }
    if (this.#queue.length > 0 && this.#running === 0) this.#runLater()
  }

  #runLater(): void {
    this.#timer ??= this.context.clock.setTimer(pauseMs, () => {
      this.#timer = null
      this.#run()
    })
  }

  /** What this primary has of a slice now, with what may be getting a slot this moment. */
  chunksOf(pool: PoolView, slice: number): { volume: number; chunk: number }[] {
    const chunks: { volume: number; chunk: number }[] = []
    const seen = new Set<number>()
    const add = (volume: number, chunk: number) => {
      const key = chunkKey(volume, chunk)
      if (seen.has(key)) return
      seen.add(key)
      chunks.push({ volume, chunk })
    }
    for (const volume of this.context.view.volumesOf(pool)) {
      const first = firstChunkIn(volume, slice)
      for (const chunk of this.device.store.chunksOf(volume.number, first, volume.chunkCount, pool.sliceCount))
        add(volume.number, chunk)
    }
    for (const request of this.device.active) {
      const volume = this.context.view.volumes.get(request.volume)
      if (request.lockShared || volume?.pool.number !== pool.number || sliceOf(volume, request.chunk) !== slice)
        continue
      add(request.volume, request.chunk)
    }
    return chunks
  }
}
