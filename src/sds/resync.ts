import type { DeviceId, PoolId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { rebalancePolicyOf, rebuildPolicyOf } from '../core/rebuild-policy/index.js'
import { type FillKind, type PoolView, sliceKey } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import type { SdsContext } from './context.js'
import { FillPieces } from './fill-pieces.js'
import type { OwnDevice } from './own-device.js'
import { SliceFill } from './slice-fill.js'

/** Slices of one kind that a device fills at the same time; how many pieces of them is the policy's. */
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
  /** Were interrupted, and start over a little later. */
  readonly #paused: SliceFill[] = []
  readonly #running: Record<FillKind, number> = { rebuild: 0, rebalance: 0 }
  #timer: Timer | null = null
  #isClosed = false
  readonly pieces: FillPieces
  /** Since this process started. */
  bytesCopied = 0
  bytesByMarks = 0

  constructor(
    readonly context: SdsContext,
    readonly device: OwnDevice,
    /** The slice is complete and durable on its joining copy. */
    readonly onJoined: (poolId: PoolId, joined: JoinedSlice) => void,
  ) {
    this.pieces = new FillPieces(this, this.#policies())
  }

  get chunksLeft(): number {
    let left = 0
    for (const fill of this.#fills.values()) left += fill.chunksLeft
    return left
  }

  get chunksTotal(): number {
    let total = 0
    for (const fill of this.#fills.values()) total += fill.chunksTotal
    return total
  }

  /** The map changed: what is to be filled is whatever the records say now. */
  update(): void {
    if (this.#isClosed) return
    const { view } = this.context
    for (const [key, fill] of this.#fills)
      if (view.record(fill.pool.number, fill.record.slice) !== fill.record || view.waiting.has(key)) this.#forget(key)
    for (const pool of view.pools.values())
      for (const record of pool.records) if (record.primary === this.device.id) this.#consider(pool, record)
    this.pieces.setPolicies(this.#policies())
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
    this.pieces.close()
  }

  /** `isDone`: complete and durable. Else it starts over, if the record still wants it. */
  ended(fill: SliceFill, isDone: boolean): void {
    this.#running[fill.kind]--
    if (this.#fills.get(sliceKey(fill.pool.number, fill.record.slice)) === fill) {
      const { slice, epoch } = fill.record
      if (isDone) this.onJoined(fill.pool.id, { slice, epoch, joining: fill.joining })
      else {
        this.context.log.debug('sds.resync-restart', { deviceId: this.device.id, slice, epoch })
        this.#paused.push(fill)
      }
    }
    this.#run()
  }

  /** The copying is over, only the sync is awaited: others may begin, so that many share one sync. */
  syncing(fill: SliceFill): void {
    this.#running[fill.kind]--
    this.#run()
  }
  /** The sync is over, well or not: `ended` follows. */
  syncEnded(fill: SliceFill): void {
    this.#running[fill.kind]++
  }

  copied(fill: SliceFill, bytes: number): void {
    this.bytesCopied += bytes
    this.context.counters.resyncBytes += bytes
    if (!fill.isByMarks) return
    this.bytesByMarks += bytes
    this.context.counters.resyncMarkedBytes += bytes
  }

  #policies() {
    const { pools, devices } = this.context.tables()
    const pool = pools.get(devices.get(this.device.id)?.poolId ?? '')
    return { rebuild: rebuildPolicyOf(pool), rebalance: rebalancePolicyOf(pool) }
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
    for (const list of [this.#queue, this.#paused]) {
      const at = list.indexOf(fill)
      if (at >= 0) list.splice(at, 1)
    }
    fill.cancel()
  }

  /** Slices that have one copy before those that have two. */
  #run(): void {
    this.#start('rebuild')
    this.#start('rebalance')
    const running = this.#running.rebuild + this.#running.rebalance
    if (this.#paused.length > 0 || (this.#queue.length > 0 && running === 0)) this.#runLater()
  }

  #start(kind: FillKind): void {
    if (this.#isClosed || !this.context.isServing) return
    for (let tries = this.#queue.length; tries > 0 && this.#running[kind] < slicesAtOnce; tries--) {
      const fill = this.#queue.shift()!
      if (fill.kind === kind && this.#mayStart(fill)) {
        this.#running[kind]++
        fill.start()
      } else this.#queue.push(fill)
    }
  }

  #mayStart({ joining, pool, record }: SliceFill): boolean {
    const mayAct = this.context.leases.mayAct(pool.number, record.slice) || mutate('fill-before-the-lease-wait-is-over')
    if (!mayAct) return false
    if (this.context.peers.isUp(joining)) return true
    this.context.peers.of(joining).connect()
    return false
  }

  #runLater(): void {
    if (this.#isClosed) return
    this.#timer ??= this.context.clock.setTimer(pauseMs, () => {
      this.#timer = null
      this.#queue.push(...this.#paused.splice(0))
      this.#run()
    })
  }

  /** Chunks, by key, that something is changing here. */
  busyChunks(): Set<number> {
    return this.device.chunksBeingChanged()
  }

  /** When a chunk was last changed here; null: now. */
  touchOf(volume: number, chunk: number): number | null {
    return this.device.store.touchOf(volume, chunk)
  }
}
