import { blockBytes, chunkBytes } from '../../base/units.js'
import type { Disk, DiskDone } from '../../ports/index.js'

/** Zeroes to write; never written to. */
const zeroes = Buffer.alloc(chunkBytes)
/** Zeroes in ranges below this are written: a hole punched for each would only splinter the file. */
const punchBytesMin = 64 * 1024

const blockFloor = (offset: number): number => offset - (offset % blockBytes)
const blockCeil = (offset: number): number => blockFloor(offset + blockBytes - 1)

/** True if the disk takes the range as it is. */
export const isAligned = (disk: Disk, offset: number, length: number): boolean =>
  disk.alignBytes === 1 || (offset % disk.alignBytes === 0 && length % disk.alignBytes === 0)

/** Reads a range that is not aligned, by way of the blocks around it. */
export function readPart(disk: Disk, base: number, offset: number, target: Buffer, done: DiskDone): void {
  const first = blockFloor(offset)
  const blocks = Buffer.allocUnsafe(blockCeil(offset + target.length) - first)
  disk.read(base + first, blocks, errno => {
    if (errno === null) blocks.copy(target, 0, offset - first)
    done(errno)
  })
}

/**
 * Writes a range; where it is not aligned, the blocks at its ends are read and written back whole. The slot of a fresh
 * chunk is known to be zero and is not read.
 */
export function writePart(
  disk: Disk,
  base: number,
  offset: number,
  length: number,
  pieces: readonly Buffer[],
  fresh: boolean,
  done: DiskDone,
): void {
  if (isAligned(disk, offset, length)) {
    disk.write(base + offset, pieces, done)
    return
  }
  const first = blockFloor(offset)
  const end = blockCeil(offset + length)
  const head = offset - first
  const tail = end - (offset + length)
  const write = (headBlock: Buffer, tailBlock: Buffer): void => {
    const whole = [headBlock.subarray(0, head), ...pieces, tailBlock.subarray(blockBytes - tail)]
    disk.write(
      base + first,
      whole.filter(piece => piece.length > 0),
      done,
    )
  }
  if (fresh) {
    write(zeroes.subarray(0, blockBytes), zeroes.subarray(0, blockBytes))
    return
  }
  readEnds(disk, base + first, base + end - blockBytes, head > 0, tail > 0, (errno, headBlock, tailBlock) => {
    if (errno !== null) done(errno)
    else write(headBlock, tailBlock)
  })
}

/** Writes zeroes; whole blocks are punched where that is worth a hole. */
export function zeroPart(disk: Disk, base: number, offset: number, length: number, done: DiskDone): void {
  const first = blockCeil(offset)
  const end = blockFloor(offset + length)
  if (end - first < punchBytesMin) {
    writePart(disk, base, offset, length, [zeroes.subarray(0, length)], false, done)
    return
  }
  let left = 1
  let failure: string | null = null
  const partDone = (errno: string | null): void => {
    failure ??= errno
    left--
    if (left === 0) done(failure)
  }
  const writeZeroes = (from: number, to: number): void => {
    if (from === to) return
    left++
    writePart(disk, base, from, to - from, [zeroes.subarray(0, to - from)], false, partDone)
  }
  writeZeroes(offset, first)
  writeZeroes(end, offset + length)
  disk.erase(base + first, end - first, partDone)
}

type EndsDone = (errno: string | null, headBlock: Buffer, tailBlock: Buffer) => void

/** Reads the first and the last block of a range, as far as they are wanted; once if they are the same. */
function readEnds(disk: Disk, headAt: number, tailAt: number, wantHead: boolean, wantTail: boolean, done: EndsDone) {
  const headBlock = Buffer.allocUnsafe(blockBytes)
  const tailBlock = headAt === tailAt ? headBlock : Buffer.allocUnsafe(blockBytes)
  const readHead = wantHead || (wantTail && headAt === tailAt)
  const readTail = wantTail && headAt !== tailAt
  let left = Number(readHead) + Number(readTail)
  let failure: string | null = null
  const partDone = (errno: string | null): void => {
    failure ??= errno
    left--
    if (left === 0) done(failure, headBlock, tailBlock)
  }
  if (readHead) disk.read(headAt, headBlock, partDone)
  if (readTail) disk.read(tailAt, tailBlock, partDone)
}
