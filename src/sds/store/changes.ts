import { assert } from '../../base/assert.js'
import { mutate } from '../../base/mutation.js'
import {
  chunkIndexKey,
  chunkValue,
  filledEntry,
  fillingEntry,
  isFilling,
  isReserved,
  isThick,
  type SlotTable,
  slotOf,
  slotOffsetOf,
  unfilledEntry,
  type VolumeChunks,
} from '../../core/store/index.js'
import type { Disk } from '../../ports/index.js'
import type { Activity } from './activity.js'
import { writePart, zeroPart } from './block-io.js'
import type { ChangeGate } from './change-gate.js'
import type { ChunkMap } from './chunk-map.js'
import type { StoreDone } from './device-store.js'
import type { GroupSync } from './group-sync.js'
import type { Health } from './health.js'
import type { IndexWriter } from './index-writer.js'
import type { Marks } from './marks.js'
import { ChangeRequest, Spare } from './requests.js'

export interface ChangesParts {
  disk: Disk
  slots: SlotTable
  map: ChunkMap
  index: IndexWriter
  health: Health
  gate: ChangeGate
  marks: Marks
  groupSync: GroupSync
  activity: Activity
  /** A chunk waits for its slot to be erased, or has given one back. */
  kickEraser(): void
}

/** Changes under way. Writes and zeroings go to the chunk's slot and, where it is the chunk's first, to the index. */
export class Changes {
  private readonly spare = new Spare(() => new ChangeRequest(change => this.finishPart(change)))
  /** Changes that wait until their chunk's slot is erased. */
  private readonly waiting = new Map<number, ChangeRequest>()

  constructor(private readonly parts: ChangesParts) {}

  /** The gate is open and the chunk is marked. `pieces` null: zeroes. */
  start(
    chunks: VolumeChunks,
    chunk: number,
    offset: number,
    length: number,
    pieces: readonly Buffer[] | null,
    done: StoreDone,
  ): void {
    const { slots } = this.parts
    const entry = chunks.get(chunk)
    assert(entry !== 0, 'a chunk that is changed has or has reserved a slot')
    assert(!isFilling(entry), 'nothing else touches a chunk while it is being filled')
    const change = this.spare.take()
    change.chunks = chunks
    change.chunk = chunk
    change.slot = slotOf(entry)
    change.offset = offset
    change.length = length
    change.pieces = pieces
    change.done = done
    this.enter(chunks)
    chunks.marks.beginChange(chunk, this.parts.marks.nextTouch())
    if (!isReserved(entry)) this.begin(change, false)
    else if (slots.isReady(change.slot)) this.begin(change, true)
    else {
      assert(!this.waiting.has(change.slot), 'one change fills a chunk')
      this.waiting.set(change.slot, change)
      this.parts.kickEraser()
    }
  }

  /** The gate is open, and the chunk is marked and mapped. */
  remove(chunks: VolumeChunks, chunk: number, done: StoreDone): void {
    const { map, marks, index, kickEraser } = this.parts
    const isMarked = !mutate('remove-without-a-mark')
    this.enter(chunks)
    if (isMarked) chunks.marks.beginChange(chunk, marks.nextTouch())
    index.drop(chunkIndexKey(chunks.volume, chunk), text => {
      if (text === null) map.freeMapped(chunks, chunk)
      kickEraser()
      if (isMarked) chunks.marks.endChange(chunk)
      this.leave(chunks)
      done(text === null ? null : { kind: 'meta', text })
    })
  }

  /** The slot is erased. */
  slotReady(slot: number): void {
    const change = this.waiting.get(slot)
    if (change === undefined) return
    this.waiting.delete(slot)
    this.begin(change, true)
  }

  /** The device has failed: nothing will be erased any more. */
  failWaiting(): void {
    const error = this.parts.health.error!
    const waiting = [...this.waiting.values()]
    this.waiting.clear()
    for (const change of waiting) {
      change.partsLeft = 1
      change.filling = false
      if (error.kind === 'media') change.onDisk(error.errno)
      else change.onIndex(error.kind === 'meta' ? error.text : error.kind)
    }
  }

  /** For every kind of change, from the moment it is admitted until it is answered. */
  enter(chunks: VolumeChunks): void {
    chunks.busyNow++
    this.parts.activity.enter()
    this.parts.gate.begin()
  }

  leave(chunks: VolumeChunks): void {
    chunks.busyNow--
    this.parts.groupSync.noteChange()
    this.parts.gate.end()
    this.parts.activity.leave()
  }

  /** Data and index entry side by side: the slot is zero until the data are there, so either may come first. */
  private begin(change: ChangeRequest, filling: boolean): void {
    const { disk, slots } = this.parts
    const { slot, offset, length, pieces } = change
    const fresh = filling && slots.isErased(slot)
    const untouched = fresh && pieces === null
    change.filling = filling
    change.partsLeft = Number(filling && !mutate('answer-before-the-index-has-the-chunk')) + Number(!untouched)
    if (filling) this.putEntry(change, fresh)
    const base = slotOffsetOf(slot)
    if (pieces !== null) writePart(disk, base, offset, length, pieces, fresh, change.onDisk)
    else if (!untouched) zeroPart(disk, base, offset, length, change.onDisk)
  }

  private putEntry(change: ChangeRequest, fresh: boolean): void {
    const chunks = change.chunks!
    const entry = chunks.get(change.chunk)
    chunks.set(change.chunk, fillingEntry(entry))
    if (fresh) this.parts.slots.fill(change.slot)
    const value = chunkValue(change.slot, isThick(entry) ? 'thick' : 'thin')
    const onIndex = mutate('answer-before-the-index-has-the-chunk') ? () => {} : change.onIndex
    this.parts.index.put(chunkIndexKey(chunks.volume, change.chunk), value, onIndex)
  }

  private finishPart(change: ChangeRequest): void {
    change.partsLeft--
    if (change.partsLeft > 0) return
    const { done, error, filling, chunk, mediaError, indexError } = change
    const chunks = change.chunks!
    if (filling) {
      const entry = chunks.get(chunk)
      chunks.set(chunk, indexError === null ? filledEntry(entry) : unfilledEntry(entry))
    }
    change.mediaError = null
    change.indexError = null
    change.pieces = null
    this.spare.give(change)
    chunks.marks.endChange(chunk)
    this.leave(chunks)
    if (mediaError !== null) this.parts.health.changeFailed(mediaError)
    done(error)
  }
}
