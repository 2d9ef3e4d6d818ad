import {
  type ChunkKind,
  type ChunkTable,
  isMapped,
  isThick,
  reservedEntry,
  type SlotTable,
  slotOf,
  type VolumeChunks,
} from '../../core/store/index.js'
import type { StoreUsage } from './device-store.js'

export interface ChunkMapParts {
  slots: SlotTable
  chunks: ChunkTable
  thinChunks: number
  thickChunks: number
}

/** Which chunk has which slot, and how many there may be. Memory only: the index follows the changes, or leads them. */
export class ChunkMap {
  private readonly slots: SlotTable
  private readonly table: ChunkTable
  private readonly counts: { thin: number; thick: number }
  private limits = { thin: Number.POSITIVE_INFINITY, thick: Number.POSITIVE_INFINITY }

  constructor(parts: ChunkMapParts) {
    this.slots = parts.slots
    this.table = parts.chunks
    this.counts = { thin: parts.thinChunks, thick: parts.thickChunks }
  }

  /** The chunks of a volume, unless it is being dropped. */
  find(volume: number): VolumeChunks | undefined {
    const chunks = this.table.find(volume)
    return chunks === undefined || chunks.dropping ? undefined : chunks
  }

  has(volume: number, chunk: number): boolean {
    const chunks = this.find(volume)
    return chunks !== undefined && isMapped(chunks.get(chunk))
  }

  chunksOf(volume: number, first: number, end: number, step: number): number[] {
    return this.find(volume)?.mappedChunks(first, end, step) ?? []
  }

  volumes(): number[] {
    return this.table.volumes()
  }

  usage(): StoreUsage {
    const { slotCount, claimedCount } = this.slots
    const { thin, thick } = this.counts
    return { slotsTotal: slotCount, slotsUsed: claimedCount, thinChunks: thin, thickChunks: thick }
  }

  setLimits(limits: { thinChunksMax: number; thickChunksMax: number }): void {
    this.limits = { thin: limits.thinChunksMax, thick: limits.thickChunksMax }
  }

  reserve(volume: number, chunk: number, kind: ChunkKind, useSpare: boolean): boolean {
    const chunks = this.table.open(volume)
    if (chunks.dropping) return false
    if (chunks.get(chunk) !== 0) return true
    if (!useSpare && this.counts[kind] >= this.limits[kind]) return false
    const slot = this.slots.claim()
    if (slot < 0) return false
    chunks.set(chunk, reservedEntry(slot, kind))
    this.counts[kind]++
    return true
  }

  /** The chunk, which is not in the index, gives its slot back. */
  freeUnmapped(chunks: VolumeChunks, chunk: number): void {
    const slot = this.forget(chunks, chunk)
    // Data may lie in it, if its index entry could not be made: then it is as good as removed.
    if (this.slots.isReady(slot) && !this.slots.isErased(slot)) this.slots.vacate(slot)
    else this.slots.release(slot)
  }

  /** The chunk has gone from the index. */
  freeMapped(chunks: VolumeChunks, chunk: number): void {
    this.slots.vacate(this.forget(chunks, chunk))
  }

  /** Nothing is left of a volume. */
  forgetVolume(volume: number): void {
    this.table.forget(volume)
  }

  private forget(chunks: VolumeChunks, chunk: number): number {
    const entry = chunks.get(chunk)
    this.counts[isThick(entry) ? 'thick' : 'thin']--
    chunks.set(chunk, 0)
    return slotOf(entry)
  }
}
