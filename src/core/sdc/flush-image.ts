import { cleanEpoch, type DirtySlices } from './dirty-slices.js'

/**
 * The flush file of one mapping, big-endian. It outlives the process, not the boot: it is written to the page cache
 * only, one cell before the first change of a slice is answered.
 *
 *     0  magic 8 bytes   8  version u32   12  sliceCount u32   16  mapping number u32   20  reserved u32
 *    24  boot id, 64 bytes of ascii filled with zeroes
 *   128  sliceCount x u32: epoch as of the last known flush, or else of the mapping
 *        sliceCount x u32: oldest epoch of a change that was answered and not flushed; 2^32 - 1: none
 */
const magic = Buffer.from('BMFLUSH\n')
const version = 1
const headerBytes = 128
const bootIdAt = 24
const bootIdBytes = 64

export interface FlushNotes {
  flushedEpochs: Uint32Array
  dirtyEpochs: Uint32Array
}

export interface FlushFileOwner {
  bootId: string
  mapping: number
  /** Of the mapping's slices, now. */
  epochs: Uint32Array
}

/** Where the note of a slice lies in the file. */
export const dirtyCellAt = (sliceCount: number, slice: number): number => headerBytes + 4 * (sliceCount + slice)

/**
 * What the file says, for the process that finds it:
 *  - no file, or another mapping's: nothing was ever written under this mapping;
 *  - of this boot: as it says;
 *  - of another boot: the newest notes may be missing, so every slice counts as written since its last known flush;
 *  - not readable: every slice counts as written, since ever.
 */
export function readFlushImage(bytes: Buffer | null, owner: FlushFileOwner): FlushNotes & { found: string } {
  const sliceCount = owner.epochs.length
  const filled = (epoch: number) => new Uint32Array(sliceCount).fill(epoch)
  const fresh = { found: 'none', flushedEpochs: owner.epochs.slice(), dirtyEpochs: filled(cleanEpoch) }
  if (bytes === null) return fresh
  const sound =
    bytes.length === headerBytes + 8 * sliceCount &&
    bytes.subarray(0, 8).equals(magic) &&
    bytes.readUInt32BE(8) === version &&
    bytes.readUInt32BE(12) === sliceCount
  if (!sound) return { found: 'damaged', flushedEpochs: filled(0), dirtyEpochs: filled(0) }
  if (bytes.readUInt32BE(16) !== owner.mapping) return fresh
  const flushedEpochs = cellsOf(bytes, headerBytes, sliceCount)
  const dirtyEpochs = cellsOf(bytes, headerBytes + 4 * sliceCount, sliceCount)
  const sameBoot = bytes.toString('latin1', bootIdAt, bootIdAt + bootIdBytes).replace(/\0+$/, '') === owner.bootId
  if (sameBoot) return { found: 'this boot', flushedEpochs, dirtyEpochs }
  return {
    found: 'other boot',
    flushedEpochs,
    dirtyEpochs: dirtyEpochs.map((at, i) => Math.min(at, flushedEpochs[i]!)),
  }
}

/** The whole file. */
export function flushImageOf(dirty: DirtySlices, owner: Omit<FlushFileOwner, 'epochs'>): Buffer {
  const { sliceCount } = dirty
  const bytes = Buffer.alloc(headerBytes + 8 * sliceCount)
  magic.copy(bytes)
  bytes.writeUInt32BE(version, 8)
  bytes.writeUInt32BE(sliceCount, 12)
  bytes.writeUInt32BE(owner.mapping, 16)
  bytes.write(owner.bootId.slice(0, bootIdBytes), bootIdAt, 'latin1')
  for (let slice = 0; slice < sliceCount; slice++) {
    bytes.writeUInt32BE(dirty.flushedEpoch(slice), headerBytes + 4 * slice)
    bytes.writeUInt32BE(dirty.oldestEpoch(slice), dirtyCellAt(sliceCount, slice))
  }
  return bytes
}

function cellsOf(bytes: Buffer, at: number, count: number): Uint32Array {
  const cells = new Uint32Array(count)
  for (let index = 0; index < count; index++) cells[index] = bytes.readUInt32BE(at + 4 * index)
  return cells
}
