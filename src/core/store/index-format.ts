import { objectNumberMax } from '../../base/ids.js'
import { MiB } from '../../base/units.js'
import type { ChunkKind } from './chunk-table.js'
import { damaged, slotCountMax } from './superblock.js'

/**
 * Keys and values of a device's index. See docs/DATA-LAYOUT.md.
 *
 *     ['format'] -> 3   ['device'] -> [system id, device id]   ['counter'] -> openings
 *     ['clean'] -> [first, count, …]: free slots not known to be erased; absent unless the last stop was clean
 *     ['boot'] -> boot id under which the device was last changed, or `bootLost`
 *     ['epoch', pool, slice] -> epoch, negative where it was adopted as a joining copy   ['chunk', volume, chunk] -> 2 * slot, + 1 if thick
 *     ['mark', volume, chunk] -> 1: the chunk may differ from its other copy (write intent)
 *
 * Format 2 has marks. A program that knows format 1 alone would change chunks without marking them: it must not open it.
 * Format 3 tells a copy in sync from a joining one; an older program would not find the highest epoch.
 */
export const indexFormat = 3
export const indexFormatMin = 1

export const indexKeys = {
  format: ['format'],
  device: ['device'],
  counter: ['counter'],
  clean: ['clean'],
  boot: ['boot'],
  epochs: ['epoch'],
  chunks: ['chunk'],
  marks: ['mark'],
} as const
/** In the place of a boot id: something that was written may be lost, although the host goes on. Equals no boot id. */
export const bootLost = 'writes lost'
export const epochKey = (pool: number, slice: number) => ['epoch', pool, slice] as const
/** Of a copy in sync (primary or secondary), or of one that is being filled. */
export const epochValue = (epoch: number, inSync: boolean): number => (inSync ? epoch : -epoch)
export const chunkIndexKey = (volume: number, chunk: number) => ['chunk', volume, chunk] as const

export const markKey = (volume: number, chunk: number) => ['mark', volume, chunk] as const
export const markValue = 1

/**
 * What the index of a device may grow to: measured at 140 bytes for each chunk that has its entry and its mark, in random
 * order, with what lmdb keeps back for pages that are replaced; epochs and the record of a clean stop are small beside it.
 */
export const indexBytesFor = (slotCount: number): number => 4 * MiB + 256 * slotCount

/** Ranges in the record of a clean stop; more are joined. */
export const distrustedRangesMax = 4096
const chunkIndexMax = 2 ** 30 - 1

export const chunkValue = (slot: number, kind: ChunkKind): number => slot * 2 + (kind === 'thick' ? 1 : 0)

/** The last record of a slice that the device has adopted. `pool` is a number. */
export interface KnownEpoch {
  pool: number
  slice: number
  epoch: number
  inSync: boolean
}

/** One adopted epoch of the index; null if it is none. */
export function parseEpoch(key: readonly (number | string)[], value: unknown): KnownEpoch | null {
  const [, pool, slice] = key
  if (typeof pool !== 'number' || typeof slice !== 'number' || !Number.isSafeInteger(value)) return null
  return { pool, slice, epoch: Math.abs(value as number), inSync: (value as number) > 0 }
}

export interface ChunkRecord {
  volume: number
  chunk: number
  slot: number
  kind: ChunkKind
}

/** One chunk of the index, checked against the device's size. Throws DEVICE_DAMAGED naming the chunk. */
export function parseChunk(key: readonly (number | string)[], value: unknown, slotCount: number, path: string) {
  const { volume, chunk } = parseChunkKey(key, path)
  if (!isNumberUpTo(value, 2 * slotCount - 1))
    throw damaged(path, `chunk ${chunk} of volume ${volume} lies beyond its end`, { entry: String(value), slotCount })
  const record: ChunkRecord = { volume, chunk, slot: value >>> 1, kind: value & 1 ? 'thick' : 'thin' }
  return record
}

/** Which chunk a key of the index is about. Throws DEVICE_DAMAGED naming the key. */
export function parseChunkKey(key: readonly (number | string)[], path: string): { volume: number; chunk: number } {
  const [, volume, chunk] = key
  if (!isNumberUpTo(volume, objectNumberMax) || !isNumberUpTo(chunk, chunkIndexMax) || key.length !== 3)
    throw damaged(path, `its index has an entry that names no chunk: ${key.join('/')}`)
  return { volume, chunk }
}

/**
 * The ranges of a clean stop; null where there was none. They may reach beyond the last slot: a device that is about to
 * grow has its new slots noted first.
 */
export function parseDistrusted(value: unknown): { first: number; count: number }[] | null {
  if (!Array.isArray(value) || value.length % 2 !== 0) return null
  const ranges: { first: number; count: number }[] = []
  for (let at = 0; at < value.length; at += 2) {
    const [first, count] = [value[at], value[at + 1]]
    if (!isNumberUpTo(first, slotCountMax - 1) || !isNumberUpTo(count, slotCountMax - first)) return null
    ranges.push({ first, count })
  }
  return ranges
}

export const isNumberUpTo = (value: unknown, max: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= max
