import { chunkKey, type DeviceId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import {
  type MarkedChunk,
  marksBySecondary,
  mayClearMarks,
  type SliceMarks,
  sliceKey,
  sliceOf,
  stillIdle,
  strayMarks,
} from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import { type DataFrame, makeFrame, opcodes } from '../wire/data.js'
import { type ChunkName, decodePairs, encodePairs } from './chunk-pairs.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'
import type { CopyOwner, CopySend } from './replicas.js'

/** Between rounds; more often where marks are to be cleared sooner than usual. */
const roundMsMax = 3_000
const roundMsMin = 100
const marksAtOnce = 1_024
/** How long a chunk must be left alone while few are marked. */
const keptIdleMs = 60_000
/** Slices of which the other copy is asked what it has marked, in one round. */
const slicesAskedAtOnce = 64
/** With more than this under way on the device a round is left out; not for ever, or a rebuild would copy everything. */
const activeMax = 32
const roundsLeftOutMax = 10

/**
 * Clears write-intent marks of the slices of which one device is primary (design section 5, rule 4), lazily and in batches:
 * those of chunks that nothing has changed for a while, while the record names two copies in sync and none joins.
 *
 * Marks are chosen with the names of their chunks' last changes, and none of a chunk that any request is changing or waits
 * to change: so every copy has answered all changes of it. Then both copies sync. Where by then nothing has touched the
 * chunk here, and nothing is about to, its own mark goes, and in the same turn the other copy is told, on the ordered
 * connection that its changes come by (see `copyUnmark`). A crash between the two leaves a mark too many, never one too few.
 * Marks that the other copy alone has are asked for once per record.
 */
export class MarkClearing {
  /** Records in which the other copy has no marks that ours does not have. */
  readonly #reconciled = new Map<number, SliceRecord>()
  #timer: Timer | null = null
  #jobs = 0
  #roundsLeftOut = 0
  #isClosed = false

  constructor(
    readonly context: SdsContext,
    readonly device: OwnDevice,
    readonly config: { marksIdleMs: number; marksKept: number },
  ) {
    this.#next()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** The record, if it lets this device clear marks now. */
  recordToClear(pool: number, slice: number): SliceRecord | null {
    const { view, isServing, isStopping } = this.context
    const record = view.record(pool, slice)
    if (this.#isClosed || !isServing || isStopping || !mayClearMarks(record, this.device.id)) return null
    if (view.waiting.has(sliceKey(pool, slice)) || !this.device.holds(pool, record!)) return null
    return this.context.leases.mayAct(pool, slice) ? record! : null
  }

  jobEnded(): void {
    this.#jobs--
  }

  /** The other copy may have marks that we do not know of. */
  reconcileAgain(pool: number, slice: number): void {
    this.#reconciled.delete(sliceKey(pool, slice))
  }

  #next(): void {
    const roundMs = Math.max(roundMsMin, Math.min(roundMsMax, this.config.marksIdleMs / 2))
    this.#timer = this.context.clock.setTimer(roundMs, () => {
      if (this.#isClosed) return
      if (this.#mayBegin()) this.#round()
      this.#next()
    })
  }

  #mayBegin(): boolean {
    if (this.#jobs > 0 || !this.context.isServing || this.device.store.failed !== null) return false
    if (this.device.active.size - this.device.lanes.size <= activeMax || ++this.#roundsLeftOut > roundsLeftOutMax) {
      this.#roundsLeftOut = 0
      return true
    }
    return false
  }

  /**
   * The first change after a mark was cleared pays for a commit and a sync on every copy: thirty times a write. So what
   * is changed now and then keeps its mark, as long as copying all that is marked would take seconds.
   */
  get #idleMs(): number {
    const { marksIdleMs, marksKept } = this.config
    return this.device.store.markedCount() > marksKept ? marksIdleMs : Math.max(marksIdleMs, keptIdleMs)
  }

  #round(): void {
    const busy = this.device.chunksBeingChanged()
    const marks = this.device.store.idleMarks(this.#idleMs, marksAtOnce, (volume, chunk) => {
      if (busy.has(chunkKey(volume, chunk))) return false
      const place = this.#placeOf(volume, chunk)
      return place !== null && this.context.peers.isUp(place.record.secondary!)
    })
    for (const [secondary, slices] of marksBySecondary(marks, mark => this.#placeOf(mark.volume, mark.chunk)!)) {
      this.#jobs++
      new ClearingJob(this, secondary, slices).start()
    }
    this.#reconcile()
  }

  #placeOf(volumeNumber: number, chunk: number): { pool: number; record: SliceRecord } | null {
    const volume = this.context.view.volumes.get(volumeNumber)
    if (volume === undefined) return null
    const record = this.recordToClear(volume.pool.number, sliceOf(volume, chunk))
    return record === null ? null : { pool: volume.pool.number, record }
  }

  #reconcile(): void {
    let asked = 0
    for (const pool of this.context.view.pools.values())
      for (const record of pool.records) {
        if (asked === slicesAskedAtOnce) return
        const key = sliceKey(pool.number, record.slice)
        if (record.primary !== this.device.id || this.#reconciled.get(key) === record) continue
        if (this.recordToClear(pool.number, record.slice) === null) continue
        if (!this.context.peers.isUp(record.secondary!)) continue
        asked++
        this.#reconciled.set(key, record)
        this.#jobs++
        new StrayJob(this, pool.number, record).start()
      }
  }
}

/** Something that is asked of the other copy about one slice, once: a lost answer is no reason to ask again at once. */
abstract class Job implements CopyOwner {
  constructor(readonly clearing: MarkClearing) {}

  abstract copyAnswered(send: CopySend, status: number, reply: DataFrame | null): void

  protected ask(deviceId: DeviceId, frame: DataFrame): void {
    this.clearing.context.peers.send(this, deviceId, frame, false)
  }

  protected touchOf = (volume: number, chunk: number): number | null =>
    this.clearing.device.store.touchOf(volume, chunk)
}

/** Marks of slices that share a secondary: both sync, then own marks go, then the other copy is told. */
class ClearingJob extends Job {
  #left = 2
  #isGood = true

  constructor(
    clearing: MarkClearing,
    readonly secondary: DeviceId,
    readonly slices: SliceMarks[],
  ) {
    super(clearing)
  }

  start(): void {
    if (mutate('clear-marks-without-a-sync')) {
      this.#clear()
      this.clearing.jobEnded()
      return
    }
    const body = Buffer.allocUnsafe(this.slices.length * 8)
    for (const [i, { record }] of this.slices.entries()) {
      body.writeUInt32BE(record.slice, i * 8)
      body.writeUInt32BE(record.epoch, i * 8 + 4)
    }
    // The slices of one device are of one pool.
    const { pool } = this.slices[0]!
    this.ask(this.secondary, makeFrame({ opcode: opcodes.flush, pool, body: [body] }))
    this.clearing.device.store.sync(error => this.#synced(error === null))
  }

  copyAnswered(_send: CopySend, status: number): void {
    this.#synced(status === 0)
  }

  #synced(isGood: boolean): void {
    this.#isGood &&= isGood
    if (--this.#left > 0) return
    if (this.#isGood) this.#clear()
    this.clearing.jobEnded()
  }

  #clear(): void {
    const { clearing } = this
    const busy = clearing.device.chunksBeingChanged()
    for (const { pool, record, marks } of this.slices) {
      if (clearing.recordToClear(pool, record.slice) !== record) continue
      const idle = stillIdle(marks, this.touchOf, busy)
      if (idle.length === 0) continue
      clearing.context.counters.marksCleared += clearing.device.store.unmark(idle, () => {})
      new Unmarking(clearing, pool, record).start(idle)
    }
  }
}

/** Asks which marks the other copy alone has, and has them cleared. */
class StrayJob extends Job {
  constructor(
    clearing: MarkClearing,
    readonly pool: number,
    readonly record: SliceRecord,
  ) {
    super(clearing)
  }

  start(): void {
    const { slice, epoch, secondary } = this.record
    this.ask(secondary!, makeFrame({ opcode: opcodes.resyncMarks, pool: this.pool, slice, epoch }))
  }

  copyAnswered(_send: CopySend, status: number, reply: DataFrame | null): void {
    const { clearing, pool, record } = this
    clearing.jobEnded()
    if (status !== 0 || reply === null) clearing.reconcileAgain(pool, record.slice)
    else if (clearing.recordToClear(pool, record.slice) === record) {
      const strays = strayMarks(decodePairs(reply), this.touchOf, clearing.device.chunksBeingChanged())
      if (strays.length > 0) new Unmarking(clearing, pool, record).start(strays)
    }
  }
}

class Unmarking extends Job {
  constructor(
    clearing: MarkClearing,
    readonly pool: number,
    readonly record: SliceRecord,
  ) {
    super(clearing)
  }

  start(chunks: readonly (ChunkName | MarkedChunk)[]): void {
    const { pool } = this
    const { slice, epoch, secondary } = this.record
    this.ask(secondary!, makeFrame({ opcode: opcodes.copyUnmark, pool, slice, epoch, body: [encodePairs(chunks)] }))
  }

  copyAnswered(_send: CopySend, status: number): void {
    if (status !== 0) this.clearing.reconcileAgain(this.pool, this.record.slice)
  }
}
