import { assert } from '../../base/assert.js'

/** Neighbouring slots. */
export interface SlotRange {
  first: number
  count: number
}

/** What a slot holds. */
const erased = 0 // durably reads as zeroes
const written = 1 // a chunk's data
const removed = 2 // its chunk was removed from the index, which may not be durable yet
const stale = 3 // nothing durable maps to it; holds anything
const erasing = 4 // being erased; not yet durable
/** Set beside that while a chunk owns the slot or has reserved it. */
const claimed = 8

/**
 * The life of every slot of a device (design section 5, rule 9):
 *
 *     erased -> claimed -> written -> removed -> stale -> erasing -> erased
 *               claim      fill       vacate     settle   takeStale  finishErase
 *
 * A chunk may claim a slot that is free but not erased yet, when there is no better one; `isReady` tells when it may be
 * filled. Invariants: a slot that is filled is claimed and was durably zero; `freeCount` counts what is not claimed.
 */
export class SlotTable {
  private life: Uint8Array
  /** Free slots by what they hold. */
  private readonly freeBy = [0, 0, 0, 0, 0]
  private removedSlots: number[] = []
  /** Claimed slots that are not erased yet: somebody waits for them. */
  private readonly wanted = new Set<number>()
  private nextErased = 0
  private nextStale = 0

  constructor(public slotCount: number) {
    this.life = new Uint8Array(slotCount)
    this.freeBy[erased] = slotCount
  }

  get freeCount(): number {
    return this.freeBy.reduce((sum, count) => sum + count, 0)
  }
  get erasedCount(): number {
    return this.freeBy[erased]!
  }
  get claimedCount(): number {
    return this.slotCount - this.freeCount
  }
  get wantedCount(): number {
    return this.wanted.size
  }
  /** Free slots that are not erased. */
  get dirtyCount(): number {
    return this.freeCount - this.freeBy[erased]!
  }
  get removedCount(): number {
    return this.removedSlots.length
  }

  /** While the index is loaded: the slot holds a chunk. False if it holds one already. */
  own(slot: number): boolean {
    if (this.life[slot] !== erased) return false
    this.set(slot, written | claimed)
    return true
  }

  /** After the index is loaded: what is free in the range is not known to be erased. */
  distrust(range: SlotRange): void {
    const end = Math.min(range.first + range.count, this.slotCount)
    for (let slot = range.first; slot < end; slot++) if (this.life[slot] === erased) this.set(slot, stale)
  }

  /** The device has grown. What lies in the new slots is not known. */
  grow(slotCount: number): void {
    assert(slotCount >= this.slotCount, 'a device does not shrink')
    const life = new Uint8Array(slotCount).fill(stale, this.slotCount)
    life.set(this.life)
    this.freeBy[stale]! += slotCount - this.slotCount
    this.nextStale = Math.min(this.nextStale, this.slotCount)
    this.life = life
    this.slotCount = slotCount
  }

  /** A free slot for a chunk, erased if there is one; -1 if none is free. */
  claim(): number {
    const kind = this.freeBy[erased]! > 0 ? erased : [erasing, stale, removed].find(life => this.freeBy[life]! > 0)
    if (kind === undefined) return -1
    const from = kind === erased ? this.nextErased : 0
    let slot = this.life.indexOf(kind, from)
    if (slot < 0) slot = this.life.indexOf(kind)
    assert(slot >= 0, 'the counts of free slots are right')
    if (kind === erased) this.nextErased = slot + 1
    else this.wanted.add(slot)
    this.set(slot, kind | claimed)
    return slot
  }

  /** May be written: is durably zero, or holds data of its chunk already. */
  isReady(slot: number): boolean {
    const life = this.life[slot]! & ~claimed
    return life === erased || life === written
  }

  /** Ready, and reads as zeroes. */
  isErased(slot: number): boolean {
    return (this.life[slot]! & ~claimed) === erased
  }

  /** Data are about to be written to a claimed slot. */
  fill(slot: number): void {
    assert(this.life[slot] === (erased | claimed), 'only a reserved slot that durably reads as zeroes is filled')
    this.set(slot, written | claimed)
  }

  /** A claimed slot into which nothing was written is free again, as it is. */
  release(slot: number): void {
    const life = this.life[slot]!
    assert((life & claimed) !== 0 && life !== (written | claimed), 'only an unwritten claim is released')
    this.wanted.delete(slot)
    this.set(slot, life & ~claimed)
  }

  /** Its chunk has gone from the index, visibly. */
  vacate(slot: number): void {
    assert(this.life[slot] === (written | claimed), 'only a written slot is vacated')
    this.set(slot, removed)
    this.removedSlots.push(slot)
  }

  /** What was vacated since the last call; `settle` it once the index is flushed. */
  takeRemoved(): number[] {
    const slots = this.removedSlots
    this.removedSlots = []
    return slots
  }

  settle(slots: readonly number[]): void {
    for (const slot of slots) {
      const life = this.life[slot]!
      assert((life & ~claimed) === removed, 'a removed slot stays removed until the index is flushed')
      this.set(slot, stale | (life & claimed))
    }
  }

  /** Ranges to erase now, wanted ones first; at most so many slots and ranges. `finishErase` them. */
  takeStale(slotsMax: number, rangesMax: number): SlotRange[] {
    const ranges: SlotRange[] = []
    let left = slotsMax
    const take = (first: number): void => {
      const range = { first, count: this.takeRun(first, left) }
      left -= range.count
      ranges.push(range)
    }
    for (const slot of this.wanted) {
      if (left === 0 || ranges.length === rangesMax) return ranges
      if (this.life[slot] === (stale | claimed)) take(this.runStart(slot, left))
    }
    while (left > 0 && ranges.length < rangesMax) {
      const slot = this.life.indexOf(stale, this.nextStale)
      this.nextStale = slot < 0 ? this.slotCount : slot
      if (slot < 0) break
      take(slot)
    }
    return ranges
  }

  /** The ranges are durably zero. Returns the slots among them that somebody waits for. */
  finishErase(ranges: readonly SlotRange[]): number[] {
    const ready: number[] = []
    for (const { first, count } of ranges)
      for (let slot = first; slot < first + count; slot++) {
        const life = this.life[slot]!
        assert((life & ~claimed) === erasing, 'a slot that is being erased stays so until it is')
        this.set(slot, erased | (life & claimed))
        if (this.wanted.delete(slot)) ready.push(slot)
      }
    return ready
  }

  /**
   * Ranges that cover every free slot not known to be erased, as [first, count, first, count …], for the record of a
   * clean stop. Neighbouring ranges are joined over what lies between them until they are few enough: what is joined in
   * is at worst erased once more.
   */
  distrusted(rangesMax: number): number[] {
    for (let gapMax = 0; ; gapMax = gapMax * 2 + 1) {
      const ranges = this.distrustedWithin(gapMax)
      if (ranges.length <= 2 * rangesMax) return ranges
    }
  }

  private distrustedWithin(gapMax: number): number[] {
    const ranges: number[] = []
    let end = -1
    for (let slot = 0; slot < this.slotCount; slot++) {
      if (this.isReady(slot)) continue
      if (end >= 0 && slot - end <= gapMax) ranges[ranges.length - 1]! += slot + 1 - end
      else ranges.push(slot, 1)
      end = slot + 1
    }
    return ranges
  }

  private isStale(slot: number): boolean {
    return (this.life[slot]! & ~claimed) === stale
  }

  /** Goes back from a wanted slot over stale neighbours, so that one erase call takes them along. */
  private runStart(slot: number, slotsMax: number): number {
    let first = slot
    while (first > 0 && slot - first + 1 < slotsMax && this.isStale(first - 1)) first--
    return first
  }

  private takeRun(first: number, slotsMax: number): number {
    let count = 0
    while (count < slotsMax && first + count < this.slotCount && this.isStale(first + count)) {
      this.set(first + count, erasing | (this.life[first + count]! & claimed))
      count++
    }
    return count
  }

  private set(slot: number, life: number): void {
    const before = this.life[slot]!
    if ((before & claimed) === 0) this.freeBy[before]!--
    if ((life & claimed) === 0) this.freeBy[life]!++
    this.life[slot] = life
    if (life === stale && slot < this.nextStale) this.nextStale = slot
  }
}
