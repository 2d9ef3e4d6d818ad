import { StorageError } from '../../base/errors.js'
import type { DeviceId, SystemId } from '../../base/ids.js'
import { blockBytes } from '../../base/units.js'
import {
  diskBytesMin,
  encodeSuperblock,
  type Label,
  labelBytes,
  readLabel,
  type Superblock,
  signatureOf,
  slotOffsetOf,
  superblockOffsets,
} from '../../core/store/index.js'
import type { Disk } from '../../ports/index.js'
import { eraseDisk, readDisk, syncDisk, writeDisk } from './steps.js'

/** Who a device is, by what is written on it. */
export interface DeviceIdentity {
  systemId: SystemId
  deviceId: DeviceId
  capacityBytes: number
}

/**
 * Reads who a device is; null for a blank disk (or one too small to be a device). Throws DEVICE_NEWER, DEVICE_DAMAGED,
 * and DEVICE_FOREIGN for a disk that holds something else.
 */
export async function identify(disk: Disk): Promise<DeviceIdentity | null> {
  const found = await readDiskLabel(disk)
  if (found.kind === 'blank') return null
  if (found.kind === 'foreign') throw foreign(disk.path, found.what)
  return identityOf(found.label.superblock)
}

export type DiskLabel = { kind: 'blank' } | { kind: 'foreign'; what: string } | { kind: 'ours'; label: Label }

export async function readDiskLabel(disk: Disk): Promise<DiskLabel> {
  if (disk.sizeBytes < diskBytesMin) return { kind: 'blank' }
  const bytes = await readDisk(disk, 0, labelBytes)
  const label = readLabel(bytes, disk.path)
  if (label !== null) return { kind: 'ours', label }
  const what = signatureOf(bytes)
  return what === null ? { kind: 'blank' } : { kind: 'foreign', what }
}

/**
 * Writes both copies, one durably before the other, so that at every moment one of them is whole: the lesser one first,
 * while the other, which must be durable, is what a crash would leave.
 */
export async function writeLabel(disk: Disk, superblock: Superblock, lesserCopy: 0 | 1): Promise<void> {
  for (const copy of lesserCopy === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
    await writeDisk(disk, superblockOffsets[copy], encodeSuperblock(superblock, copy))
    await syncDisk(disk)
  }
}

/** Makes the disk blank again, durably: nothing of what was there is found any more. */
export async function wipeLabel(disk: Disk): Promise<void> {
  await eraseDisk(disk, 0, labelBytes)
  await syncDisk(disk)
}

export const identityOf = ({ systemId, deviceId, slotCount }: Superblock): DeviceIdentity => ({
  systemId,
  deviceId,
  capacityBytes: slotOffsetOf(slotCount) - labelBytes,
})

export const foreign = (path: string, what: string): StorageError =>
  new StorageError('DEVICE_FOREIGN', {
    detail: `${path} holds ${what}`,
    remedy: 'name another disk, or erase this one if nobody needs it',
  })

/** A device is read and written in blocks; a disk with larger ones cannot be one. */
export function checkDisk(disk: Disk): void {
  const facts = { device: disk.path, sizeBytes: disk.sizeBytes, minBytes: diskBytesMin }
  if (disk.sizeBytes < diskBytesMin)
    throw new StorageError('BAD_ARGUMENT', { detail: 'the disk is too small to be a device', ...facts })
  if (blockBytes % disk.alignBytes !== 0)
    throw new StorageError('BAD_ARGUMENT', {
      detail: 'the disk wants larger blocks than devices have',
      device: disk.path,
      haveBytes: disk.alignBytes,
      maxBytes: blockBytes,
    })
}
