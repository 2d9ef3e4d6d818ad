import { join } from 'node:path'
import { StorageError } from '../../base/errors.js'
import type { DeviceId, SystemId } from '../../base/ids.js'
import {
  encodeLabel,
  indexFormat,
  indexKeys,
  isPartOf,
  labelBytes,
  type Superblock,
  slotCountFor,
} from '../../core/store/index.js'
import type { Disk, MetaKey, MetaStore, MetaStorePort, MetaWrite } from '../../ports/index.js'
import { checkDisk, foreign, readDiskLabel, wipeLabel, writeLabel } from './label.js'
import { commitDurably, indexRoomLack, readDisk } from './steps.js'

export interface DevicePlace {
  /** Open, with its lock; stays open. */
  disk: Disk
  metaStores: MetaStorePort
  /** Where the indexes of all devices are; that of a device is in the directory `deviceId` below. */
  indexDirectory: string
  systemId: SystemId
}

export interface CreateDeviceOptions extends DevicePlace {
  deviceId: DeviceId
  bootId: string
  /** Takes the disk whatever it holds. */
  force?: boolean
}

export const indexDirectoryOf = (indexDirectory: string, deviceId: DeviceId): string => join(indexDirectory, deviceId)

/**
 * Makes a disk a device: its index first, then the superblocks, so that a device that can be found has its index.
 * Called again for the same device, unless it has chunks, it begins anew. Refuses a disk that is not blank with
 * DEVICE_FOREIGN (or ALREADY_EXISTS where it is a device of this system), naming what it found.
 */
export async function createDevice(options: CreateDeviceOptions): Promise<void> {
  const { disk, metaStores, systemId, deviceId, bootId, force = false } = options
  checkDisk(disk)
  const slotCount = slotCountFor(disk.sizeBytes)
  const superblock = { systemId, deviceId, slotCount, counter: 0 }
  if (!force) await checkUnused(disk, superblock)
  const index = await metaStores.open(indexDirectoryOf(options.indexDirectory, deviceId))
  try {
    if (!force && hasChunks(index))
      throw new StorageError('IN_USE', { detail: 'the device was used already', device: disk.path, deviceId })
    // What a found label says must not be taken for the new device's if this is interrupted between the copies.
    const lack = await indexRoomLack(index, disk.path, slotCount)
    if (lack !== null) throw lack
    await wipeLabel(disk)
    await emptyIndex(index, disk.path)
    await commitDurably(index, disk.path, [
      { put: indexKeys.format, value: indexFormat },
      { put: indexKeys.device, value: [systemId, deviceId] },
      { put: indexKeys.counter, value: 0 },
      { put: indexKeys.boot, value: bootId },
      // Nothing is known of the slots, also of a file that was just made: punching a hole into a hole costs nothing.
      { put: indexKeys.clean, value: [0, slotCount] },
    ])
    await writeLabel(disk, superblock, 0)
  } finally {
    await index.close()
  }
}

async function checkUnused(disk: Disk, { systemId, deviceId, ...rest }: Superblock): Promise<void> {
  const whole = encodeLabel({ systemId, deviceId, ...rest })
  if (isPartOf(await readDisk(disk, 0, labelBytes), whole)) return
  const found = await readDiskLabel(disk)
  if (found.kind === 'blank') return
  if (found.kind === 'foreign') throw foreign(disk.path, found.what)
  const { superblock } = found.label
  if (superblock.systemId !== systemId)
    throw foreign(disk.path, `device ${superblock.deviceId} of system ${superblock.systemId}`)
  if (superblock.deviceId !== deviceId)
    throw new StorageError('ALREADY_EXISTS', {
      detail: `${disk.path} is device ${superblock.deviceId} of this system already`,
      deviceId,
      remedy: 'name another disk, or remove that device first',
    })
}

export interface ReleaseDeviceOptions extends DevicePlace {
  deviceId: DeviceId
}

/** Makes a disk that is this device blank again, for whatever comes next, and empties its index. Its slots stay as they are. */
export async function releaseDevice(options: ReleaseDeviceOptions): Promise<void> {
  const { disk, metaStores, systemId, deviceId } = options
  const found = await readDiskLabel(disk)
  if (found.kind === 'foreign') throw foreign(disk.path, found.what)
  if (found.kind === 'ours') {
    const { superblock } = found.label
    if (superblock.systemId !== systemId || superblock.deviceId !== deviceId)
      throw foreign(disk.path, `device ${superblock.deviceId} of system ${superblock.systemId}`)
    await wipeLabel(disk)
  }
  const index = await metaStores.open(indexDirectoryOf(options.indexDirectory, deviceId))
  try {
    await emptyIndex(index, disk.path)
  } finally {
    await index.close()
  }
}

function hasChunks(index: MetaStore): boolean {
  for (const _ of index.range(indexKeys.chunks)) return true
  return false
}

const emptyBatch = 10_000

async function emptyIndex(index: MetaStore, path: string): Promise<void> {
  let drops: MetaWrite[] = []
  const keys: MetaKey[] = []
  for (const { key } of index.range([])) keys.push(key)
  for (const key of keys) {
    drops.push({ drop: key })
    if (drops.length < emptyBatch) continue
    await commitDurably(index, path, drops)
    drops = []
  }
  if (drops.length > 0) await commitDurably(index, path, drops)
}
