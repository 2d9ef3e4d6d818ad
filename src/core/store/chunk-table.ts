import { assert } from '../../base/assert.js'
import { type MarksByVolume, VolumeMarks } from './mark-table.js'
import { chunksAmong } from './sparse-chunks.js'
import { slotCountMax } from './superblock.js'

/**
 * Where a chunk is, in one 31-bit number; 0 where it has no slot.
 * Bits 0-27: slot + 1; 28: thick; 29: reserved, not in the index; 30: its index entry is being written.
 */
export type Entry = number
export type ChunkKind = 'thin' | 'thick'

const slotMask = 2 ** 28 - 1
const thickBit = 2 ** 28
const reservedBit = 2 ** 29
const fillingBit = 2 ** 30
assert(slotCountMax < slotMask, 'an entry has room for every slot')

export const reservedEntry = (slot: number, kind: ChunkKind): Entry => mappedEntry(slot, kind) | reservedBit
export const mappedEntry = (slot: number, kind: ChunkKind): Entry => (slot + 1) | (kind === 'thick' ? thickBit : 0)
export const fillingEntry = (entry: Entry): Entry => entry | fillingBit
/** Filled, and in the index. */
export const filledEntry = (entry: Entry): Entry => entry & ~(fillingBit | reservedBit)
/** Could not be put into the index. */
export const unfilledEntry = (entry: Entry): Entry => (entry & ~fillingBit) | reservedBit

export const slotOf = (entry: Entry): number => (entry & slotMask) - 1
export const isThick = (entry: Entry): boolean => (entry & thickBit) !== 0
export const isReserved = (entry: Entry): boolean => (entry & reservedBit) !== 0
export const isFilling = (entry: Entry): boolean => (entry & fillingBit) !== 0
/** Has a slot that the index names. */
export const isMapped = (entry: Entry): boolean => entry !== 0 && (entry & reservedBit) === 0

const blockShift = 10
const blockChunks = 1 << blockShift

/** The chunks of one volume that are on one device, in blocks of 1024, so that the empty parts of a volume cost nothing. */
export class VolumeChunks {
  /** Requests under way; a volume is dropped only when there are none. */
  busyNow = 0
  /** Being dropped: for everybody else it is empty already. */
  dropping = false
  /** Kept whether or not the chunks have slots. */
  readonly marks = new VolumeMarks()
  private readonly blocks = new Map<number, Int32Array>()
  private mapped = 0

  constructor(readonly volume: number) {}

  get mappedCount(): number {
    return this.mapped
  }

  get(chunk: number): Entry {
    const block = this.blocks.get(chunk >>> blockShift)
    return block === undefined ? 0 : block[chunk & (blockChunks - 1)]!
  }

  set(chunk: number, entry: Entry): void {
    let block = this.blocks.get(chunk >>> blockShift)
    if (block === undefined) {
      block = new Int32Array(blockChunks)
      this.blocks.set(chunk >>> blockShift, block)
    }
    const before = block[chunk & (blockChunks - 1)]!
    this.mapped += Number(isMapped(entry)) - Number(isMapped(before))
    block[chunk & (blockChunks - 1)] = entry
  }

  /** Mapped chunks among `first, first + step, …` below `end`, ascending. */
  mappedChunks(first: number, end: number, step: number): number[] {
    const isWanted = (chunk: number) => isMapped(this.get(chunk))
    return chunksAmong({ blocks: this.blocks, blockChunks }, first, end, step, isWanted)
  }

  /** Every chunk that has or has reserved a slot. */
  *entries(): Generator<{ chunk: number; entry: Entry }> {
    for (const [index, block] of this.blocks)
      for (let at = 0; at < blockChunks; at++)
        if (block[at] !== 0) yield { chunk: index * blockChunks + at, entry: block[at]! }
  }
}

/** All chunks of a device. */
export class ChunkTable implements MarksByVolume {
  private readonly byVolume = new Map<number, VolumeChunks>()

  find(volume: number): VolumeChunks | undefined {
    return this.byVolume.get(volume)
  }

  open(volume: number): VolumeChunks {
    let chunks = this.byVolume.get(volume)
    if (chunks === undefined) {
      chunks = new VolumeChunks(volume)
      this.byVolume.set(volume, chunks)
    }
    return chunks
  }

  forget(volume: number): void {
    this.byVolume.delete(volume)
  }

  /** Volumes with a mapped chunk or a mark, ascending. */
  volumes(): number[] {
    const found: number[] = []
    for (const { volume, mappedCount, marks, dropping } of this.byVolume.values())
      if ((mappedCount > 0 || marks.count > 0) && !dropping) found.push(volume)
    return found.sort((a, b) => a - b)
  }

  get markedCount(): number {
    let count = 0
    for (const { marks, dropping } of this.byVolume.values()) if (!dropping) count += marks.count
    return count
  }

  *markedVolumes(): Generator<VolumeChunks> {
    for (const chunks of this.byVolume.values()) if (!chunks.dropping) yield chunks
  }
}
