import { cleanEpoch, type DirtySlices, inheritedEpoch } from './dirty-slices.js'

/**
 * The flush file of one mapping, big-endian. It outlives the process, not the boot: it is written to the page cache
 * only: one cell before a change is answered that is older than what the cell says. The file may be more
 * cautious than that (see `sdc/flush-file.ts`), never less.
 *
 *     0  magic 8 bytes   8  version u32   12  sliceCount u32   16  mapping number u32   20  outliving clients u32, 0 or 1
 *    24  boot id, 64 bytes of ascii filled with zeroes
 *   128  sliceCount x u32: epoch as of the last known flush, or else of the mapping
 *        sliceCount x u32: oldest epoch of a change that was answered and not flushed; 2^32 - 1: none;
 *                          2^32 - 2: only of clients that have ended with an earlier boot
 *
 * Version 1 did not say whether clients outlive the boot.
 */
const magic = Buffer.from('BMFLUSH\n')
const version = 2
const outlivingAt = 20
const headerBytes = 128
const bootIdAt = 24
const bootIdBytes = 64

export interface FlushNotes {
  flushedEpochs: Uint32Array
  dirtyEpochs: Uint32Array
  /**
   * Clients beside this host's own kernel may have unflushed changes: they came by a socket, or by other SDCs. Durable
   * before the first of them is served.
   */
  hasOutliving: boolean
}

export interface FlushFileOwner {
  bootId: string
  mapping: number
  /** Of the mapping's slices, now. */
  epochs: Uint32Array
  /** Other SDCs write to the volume, too. */
  isShared: boolean
}

/** Where the note of a slice lies in the file. */
export const dirtyCellAt = (sliceCount: number, slice: number): number => headerBytes + 4 * (sliceCount + slice)

/**
 * What the file says, for the process that finds it:
 *  - no file, or another mapping's: nothing was ever written under this mapping;
 *  - of this boot: as it says;
 *  - of another boot: the newest notes may be missing, so every slice counts as written since its last known flush;
 *  - of another boot, in which only this host's kernel was served: the same, but nobody is told of a loss up to now;
 *  - not readable: every slice counts as written, since ever.
 *
 * Why nobody is told there: FLUSH fails after a loss because whoever was answered would otherwise believe that his
 * unflushed writes are durable. Everybody whom /dev/nbdX answered was a process or a file system of this kernel, and has
 * ended with it; who uses the device now has no answer from before, reads what there is (a file system replays its
 * journal), and writes in a record's epoch that a later loss exceeds, so that he hears of that one. Servers on top of
 * the device that have clients of their own (NFS, iSCSI) tell them of the restart by their own protocols, as over a disk
 * that lost power with its host. What was written must still be covered by the next FLUSH: it may be read, be relied upon,
 * and not be durable yet where only this host went down. None of this can be said of a client at a socket, who may be on
 * another host behind it, or connect again with what he holds; nor where other SDCs write, whose applications may leave
 * it to this one to flush.
 */
export function readFlushImage(bytes: Buffer | null, owner: FlushFileOwner): FlushNotes & { found: string } {
  const sliceCount = owner.epochs.length
  const filled = (epoch: number) => new Uint32Array(sliceCount).fill(epoch)
  const hasOutliving = owner.isShared
  const fresh = { found: 'none', flushedEpochs: owner.epochs.slice(), dirtyEpochs: filled(cleanEpoch), hasOutliving }
  if (bytes === null) return fresh
  const sound =
    bytes.length === headerBytes + 8 * sliceCount &&
    bytes.subarray(0, 8).equals(magic) &&
    [1, version].includes(bytes.readUInt32BE(8)) &&
    bytes.readUInt32BE(12) === sliceCount
  if (!sound) return { found: 'damaged', flushedEpochs: filled(0), dirtyEpochs: filled(0), hasOutliving: true }
  if (bytes.readUInt32BE(16) !== owner.mapping) return fresh
  const flushedEpochs = cellsOf(bytes, headerBytes, sliceCount)
  const dirtyEpochs = cellsOf(bytes, headerBytes + 4 * sliceCount, sliceCount)
  const sameBoot = bytes.toString('latin1', bootIdAt, bootIdAt + bootIdBytes).replace(/\0+$/, '') === owner.bootId
  const outlived = bytes.readUInt32BE(8) === 1 || bytes.readUInt32BE(outlivingAt) !== 0
  if (sameBoot) return { found: 'this boot', flushedEpochs, dirtyEpochs, hasOutliving: hasOutliving || outlived }
  if (!outlived && !hasOutliving)
    return { ...fresh, found: 'other boot, all clients ended with it', dirtyEpochs: filled(inheritedEpoch) }
  return {
    found: 'other boot',
    flushedEpochs,
    dirtyEpochs: dirtyEpochs.map((at, i) => Math.min(at, flushedEpochs[i]!)),
    hasOutliving: true,
  }
}

/** The whole file. `cells`: what it is to say of unflushed changes. */
export function flushImageOf(
  dirty: DirtySlices,
  cells: Uint32Array,
  owner: Pick<FlushFileOwner, 'bootId' | 'mapping'> & Pick<FlushNotes, 'hasOutliving'>,
): Buffer {
  const { sliceCount } = dirty
  const bytes = Buffer.alloc(headerBytes + 8 * sliceCount)
  magic.copy(bytes)
  bytes.writeUInt32BE(version, 8)
  bytes.writeUInt32BE(sliceCount, 12)
  bytes.writeUInt32BE(owner.mapping, 16)
  bytes.writeUInt32BE(owner.hasOutliving ? 1 : 0, outlivingAt)
  bytes.write(owner.bootId.slice(0, bootIdBytes), bootIdAt, 'latin1')
  for (let slice = 0; slice < sliceCount; slice++) {
    bytes.writeUInt32BE(dirty.flushedEpoch(slice), headerBytes + 4 * slice)
    bytes.writeUInt32BE(cells[slice]!, dirtyCellAt(sliceCount, slice))
  }
  return bytes
}

function cellsOf(bytes: Buffer, at: number, count: number): Uint32Array {
  const cells = new Uint32Array(count)
  for (let index = 0; index < count; index++) cells[index] = bytes.readUInt32BE(at + 4 * index)
  return cells
}
