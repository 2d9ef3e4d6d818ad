import { crc32c } from '../../base/crc32c.js'
import { StorageError } from '../../base/errors.js'
import type { DeviceId, SystemId } from '../../base/ids.js'
import { chunkBytes, KiB, MiB } from '../../base/units.js'
import { isZero } from './disk-signature.js'

/**
 * What a device carries about itself, twice, in its first MiB. All numbers are big-endian:
 *
 *     0 magic 8 bytes | 8 format u32 | 12 copy u32 (0 or 1) | 16 system id u64 | 24 device id u64 | 32 slot count u64
 *     40 slot bytes u32 | 44 slots begin u32 | 48 opening counter u64 | 56 zeroes | 4092 crc32c u32 of all before
 *
 * Magic, format and checksum stay where they are in every later format, so that older programs can tell "newer" from
 * "damaged".
 */
export interface Superblock {
  systemId: SystemId
  deviceId: DeviceId
  slotCount: number
  /** Raised at each opening, after the index's: an index that is behind has been replaced by an older one. */
  counter: number
}

export const superblockFormat = 1
export const superblockBytes = 4 * KiB
/** Where the two copies lie: far apart, so that one bad area of a disk does not take both. */
export const superblockOffsets = [0, 512 * KiB] as const
/** Everything before the first slot. */
export const labelBytes = 1 * MiB
/** The smallest disk that can be a device: the label and one slot. */
export const diskBytesMin = labelBytes + chunkBytes
/** What the chunk table has bits for: 128 TiB. */
export const slotCountMax = 2 ** 27

const magic = Buffer.from('BLKMESH\n', 'latin1')
const checksumAt = superblockBytes - 4

export const slotCountFor = (diskBytes: number): number =>
  Math.min(slotCountMax, Math.floor((diskBytes - labelBytes) / chunkBytes))

/** Where slot `slot` begins on the disk. */
export const slotOffsetOf = (slot: number): number => labelBytes + slot * chunkBytes

export function encodeSuperblock(superblock: Superblock, copy: 0 | 1): Buffer {
  const block = Buffer.alloc(superblockBytes)
  magic.copy(block)
  block.writeUInt32BE(superblockFormat, 8)
  block.writeUInt32BE(copy, 12)
  block.write(superblock.systemId, 16, 'hex')
  block.write(superblock.deviceId, 24, 'hex')
  block.writeBigUInt64BE(BigInt(superblock.slotCount), 32)
  block.writeUInt32BE(chunkBytes, 40)
  block.writeUInt32BE(labelBytes, 44)
  block.writeBigUInt64BE(BigInt(superblock.counter), 48)
  block.writeUInt32BE(crc32c(block.subarray(0, checksumAt)), checksumAt)
  return block
}

/** One copy as it was found: `absent` has no magic, `torn` has it and does not add up. */
export type FoundSuperblock =
  | { kind: 'absent' | 'torn' }
  | { kind: 'newer'; format: number }
  | { kind: 'valid'; superblock: Superblock }

export function decodeSuperblock(block: Buffer, copy: 0 | 1): FoundSuperblock {
  if (!block.subarray(0, magic.length).equals(magic)) return { kind: 'absent' }
  if (block.readUInt32BE(checksumAt) !== crc32c(block.subarray(0, checksumAt))) return { kind: 'torn' }
  const format = block.readUInt32BE(8)
  if (format > superblockFormat) return { kind: 'newer', format }
  const slotCount = Number(block.readBigUInt64BE(32))
  const counter = Number(block.readBigUInt64BE(48))
  const sound =
    format === superblockFormat &&
    block.readUInt32BE(12) === copy &&
    block.readUInt32BE(40) === chunkBytes &&
    block.readUInt32BE(44) === labelBytes &&
    slotCount >= 1 &&
    slotCount <= slotCountMax &&
    Number.isSafeInteger(counter)
  if (!sound) return { kind: 'torn' }
  return {
    kind: 'valid',
    superblock: {
      systemId: block.toString('hex', 16, 24) as SystemId,
      deviceId: block.toString('hex', 24, 32) as DeviceId,
      slotCount,
      counter,
    },
  }
}

/** What a label says, and which copy is to be overwritten first at the next update: the one that matters less. */
export interface Label {
  superblock: Superblock
  lesserCopy: 0 | 1
}

/**
 * Reads the first MiB of a disk; null where it carries no superblock at all. Throws DEVICE_NEWER and DEVICE_DAMAGED.
 * Two valid copies may differ in counter and slot count: an update of the second did not happen. The counter never falls,
 * and neither does the slot count, so that the higher one is the newer one.
 */
export function readLabel(label: Buffer, path: string): Label | null {
  const [first, second] = superblockOffsets.map((offset, copy) =>
    decodeSuperblock(label.subarray(offset, offset + superblockBytes), copy as 0 | 1),
  ) as [FoundSuperblock, FoundSuperblock]
  for (const found of [first, second]) {
    if (found.kind !== 'newer') continue
    const facts = { device: path, haveFormat: found.format, knownFormat: superblockFormat }
    throw new StorageError('DEVICE_NEWER', { ...facts, remedy: 'upgrade this server, or open the device where it was' })
  }
  if (first.kind === 'valid' && second.kind === 'valid') {
    const [a, b] = [first.superblock, second.superblock]
    if (a.systemId !== b.systemId || a.deviceId !== b.deviceId)
      throw damaged(path, `its superblocks name two devices, ${a.deviceId} and ${b.deviceId}`)
    const difference = a.counter - b.counter || a.slotCount - b.slotCount
    return difference >= 0 ? { superblock: a, lesserCopy: 1 } : { superblock: b, lesserCopy: 0 }
  }
  if (first.kind === 'valid') return { superblock: first.superblock, lesserCopy: 1 }
  if (second.kind === 'valid') return { superblock: second.superblock, lesserCopy: 0 }
  if (first.kind === 'torn' || second.kind === 'torn') throw damaged(path, 'both of its superblocks are damaged')
  return null
}

const sectorBytes = 512

/** The label of a device that was just made. */
export function encodeLabel(superblock: Superblock): Buffer {
  const label = Buffer.alloc(labelBytes)
  for (const copy of [0, 1] as const) encodeSuperblock(superblock, copy).copy(label, superblockOffsets[copy])
  return label
}

/** True if the label holds nothing but parts of the one that is to be written: an earlier try was interrupted. */
export function isPartOf(label: Buffer, whole: Buffer): boolean {
  for (let at = 0; at < labelBytes; at += sectorBytes) {
    const sector = label.subarray(at, at + sectorBytes)
    if (!isZero(sector) && !sector.equals(whole.subarray(at, at + sectorBytes))) return false
  }
  return true
}

/** A device that cannot be used as it is; the remedy is always the same, its data are on other devices. */
export const damaged = (path: string, why: string, facts: Record<string, string | number> = {}): StorageError =>
  new StorageError('DEVICE_DAMAGED', {
    detail: `device ${path} is damaged: ${why}`,
    ...facts,
    remedy: 'remove the device from the system and add it again empty; its chunks are rebuilt from their other copies',
  })
