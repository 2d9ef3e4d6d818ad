import { mutate } from '../../base/mutation.js'
import { chunkBytes } from '../../base/units.js'
import { type SlotRange, type SlotTable, slotOffsetOf } from '../../core/store/index.js'
import type { Clock, Disk, Timer } from '../../ports/index.js'
import type { Activity } from './activity.js'
import type { Health } from './health.js'
import type { IndexWriter } from './index-writer.js'

/** A discard waits so long for its neighbours, so that they are erased by one call. */
const gatherMs = 250
const rangesPerBatchMax = 64
const batchSlots = { first: 64, min: 8, max: 65_536 }
/** A batch that took less may be twice as large next time; one that took more must be half as large. */
const shortMs = 20
const longMs = 200

export interface EraserParts {
  disk: Disk
  index: IndexWriter
  slots: SlotTable
  clock: Clock
  health: Health
  activity: Activity
  /** The slot, which somebody waits for, is durably zero. */
  onReady(slot: number): void
}

/**
 * Turns slots whose chunks were removed into slots that durably read as zeroes: index flushed, erased, synced, in this
 * order. Runs in the background, in batches, with a pause as long as the last batch took; without pauses when a chunk
 * waits for its slot.
 */
export class Eraser {
  private timer: Timer | null = null
  private running = false
  private stopping = false
  private slotsMax = batchSlots.first

  constructor(private readonly parts: EraserParts) {}

  /** There may be something to erase: at once if a chunk waits for it. */
  kick(): void {
    const { slots, health, clock } = this.parts
    if (this.running || health.error !== null) return
    if (slots.wantedCount > 0) {
      this.begin()
      return
    }
    if (!this.stopping && slots.dirtyCount > 0) this.timer ??= clock.setTimer(gatherMs, () => this.begin())
  }

  /** From now on only slots that somebody waits for are erased. */
  stop(): void {
    this.stopping = true
    this.cancelTimer()
  }

  private cancelTimer(): void {
    this.timer?.cancel()
    this.timer = null
  }

  private begin(): void {
    this.cancelTimer()
    if (this.running || this.parts.health.error !== null) return
    this.running = true
    this.parts.activity.enter()
    const { slots, index, health } = this.parts
    const removed = slots.takeRemoved()
    if (removed.length === 0 || mutate('reuse-a-slot-before-its-removal-is-durable')) {
      slots.settle(removed)
      this.eraseBatch()
      return
    }
    index.flush(text => {
      if (text !== null) health.indexFailed(text)
      if (health.error !== null) return this.end(0)
      slots.settle(removed)
      this.eraseBatch()
    })
  }

  private eraseBatch(): void {
    const { slots, disk, health, clock } = this.parts
    const ranges = slots.takeStale(this.slotsMax, rangesPerBatchMax)
    if (ranges.length === 0) {
      this.end(0)
      return
    }
    const beganMs = clock.nowMs()
    let left = ranges.length
    const erased = (errno: string | null): void => {
      if (errno !== null) health.changeFailed(errno)
      left--
      if (left > 0) return
      if (health.error !== null) {
        this.end(0)
        return
      }
      disk.sync(errno => {
        if (errno !== null) health.syncFailed(errno)
        if (health.error !== null) return this.end(0)
        this.finishBatch(ranges, clock.nowMs() - beganMs)
      })
    }
    for (const { first, count } of ranges) disk.erase(slotOffsetOf(first), count * chunkBytes, erased)
  }

  private finishBatch(ranges: readonly SlotRange[], tookMs: number): void {
    if (tookMs < shortMs) this.slotsMax = Math.min(batchSlots.max, this.slotsMax * 2)
    else if (tookMs > longMs) this.slotsMax = Math.max(batchSlots.min, Math.floor(this.slotsMax / 2))
    for (const slot of this.parts.slots.finishErase(ranges)) this.parts.onReady(slot)
    this.end(tookMs)
  }

  private end(pauseMs: number): void {
    const { slots, health, clock, activity } = this.parts
    this.running = false
    activity.leave()
    if (health.error !== null) return
    if (slots.wantedCount > 0) {
      this.begin()
      return
    }
    if (this.stopping || slots.dirtyCount === 0) return
    const delayMs = slots.removedCount > 0 ? Math.max(pauseMs, gatherMs) : pauseMs
    this.timer ??= clock.setTimer(delayMs, () => this.begin())
  }
}
