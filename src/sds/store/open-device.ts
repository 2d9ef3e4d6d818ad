import { StorageError } from '../../base/errors.js'
import type { SystemId } from '../../base/ids.js'
import { mutate } from '../../base/mutation.js'
import {
  bootLost,
  ChunkTable,
  damaged,
  indexFormat,
  indexFormatMin,
  indexKeys,
  isNumberUpTo,
  mappedEntry,
  parseChunk,
  parseChunkKey,
  parseDistrusted,
  parseEpoch,
  SlotTable,
  type Superblock,
  slotCountFor,
  slotOf,
  slotOffsetOf,
  touchAtOpening,
} from '../../core/store/index.js'
import type { Clock, Disk, MetaStore } from '../../ports/index.js'
import { ChunkStore } from './chunk-store.js'
import { type DevicePlace, indexDirectoryOf } from './create-device.js'
import type { DeviceStore } from './device-store.js'
import { checkDisk, foreign, readDiskLabel, writeLabel } from './label.js'
import { commitDurably, indexRoomLack, syncDisk } from './steps.js'
import { upgradeIndex } from './upgrade-index.js'

export interface OpenDeviceOptions extends DevicePlace {
  bootId: string
  clock: Clock
  /** Called once, at the first error that makes the device useless for writers. */
  onFailed?: (reason: string) => void
  /** The index may run out of room before the device does. */
  onUnreserved?: (error: StorageError) => void
}

/**
 * Opens a device that was found on `disk`; the store then owns the disk and closes it. On an error (DEVICE_FOREIGN,
 * DEVICE_NEWER, DEVICE_DAMAGED, DEVICE_BUSY, NOT_FOUND, MEDIA_ERROR) the disk stays the caller's.
 */
export async function openDevice(options: OpenDeviceOptions): Promise<DeviceStore> {
  const { disk, systemId, metaStores, clock, bootId, onFailed = () => {}, onUnreserved = () => {} } = options
  const found = await readDiskLabel(disk)
  if (found.kind === 'blank') throw new StorageError('NOT_FOUND', { detail: `${disk.path} is blank: not a device` })
  if (found.kind === 'foreign') throw foreign(disk.path, found.what)
  const { superblock, lesserCopy } = found.label
  checkLabel(disk, superblock, systemId)
  const { deviceId } = superblock
  const index = await metaStores.open(indexDirectoryOf(options.indexDirectory, deviceId))
  try {
    checkIndex(index, disk.path, superblock)
    const slotCount = await grownSlotCount(disk, index, superblock)
    const content = loadIndex(index, disk.path, slotCount)
    // A device that is full, on a host that is full, still has to be read.
    const lack = await indexRoomLack(index, disk.path, slotCount)
    if (lack !== null) onUnreserved(lack)
    const opened = { cleanStop: content.cleanStop, sameBoot: index.get(indexKeys.boot) === bootId }
    // A process that was killed may have written the superblock that was found without having synced it. Before anything
    // counts on it, it is made durable; or a power loss now would leave an older one than the index knows, or none.
    await syncFound(disk, index)
    await upgradeIndex(index, disk.path, content)
    // The flush behind this also makes durable what a killed process left visible: a slot that its index gave up is free
    // for others from here on, so it must not come back.
    const counter = superblock.counter + 1
    await commitDurably(index, disk.path, [{ put: indexKeys.counter, value: counter }])
    await writeLabel(disk, { ...superblock, slotCount, counter }, lesserCopy)
    return new ChunkStore({ disk, index, clock, deviceId, systemId, bootId, counter, ...content, opened, onFailed })
  } catch (error) {
    await index.close()
    throw error
  }
}

/**
 * The slots that the device will have. Where its disk has grown, the label that says so is written when the index knows,
 * durably, that nothing is known of the new slots. Interrupted in between, the next opening does it once more.
 */
async function grownSlotCount(disk: Disk, index: MetaStore, { slotCount }: Superblock): Promise<number> {
  const grownTo = slotCountFor(disk.sizeBytes)
  if (grownTo <= slotCount) return slotCount
  const clean = index.get(indexKeys.clean)
  if (parseDistrusted(clean) !== null) {
    const value = [...(clean as number[]), slotCount, grownTo - slotCount]
    await commitDurably(index, disk.path, [{ put: indexKeys.clean, value }])
  }
  return grownTo
}

/** An error that the kernel still has for us may be of writes that a killed process answered: they are lost then. */
async function syncFound(disk: Disk, index: MetaStore): Promise<void> {
  try {
    await syncDisk(disk)
  } catch (error) {
    await commitDurably(index, disk.path, [{ drop: indexKeys.clean }, { put: indexKeys.boot, value: bootLost }])
    throw error
  }
}

function checkLabel(disk: Disk, superblock: Superblock, systemId: SystemId): void {
  if (superblock.systemId !== systemId)
    throw foreign(disk.path, `device ${superblock.deviceId} of another system, ${superblock.systemId}`)
  checkDisk(disk)
  const wantBytes = slotOffsetOf(superblock.slotCount)
  if (disk.sizeBytes < wantBytes)
    throw damaged(disk.path, 'the disk has shrunk', { haveBytes: disk.sizeBytes, wantBytes })
}

/**
 * The index must be this device's and of its time. An opening raises the index's counter, durably, before the
 * superblock's: so it is equal, or one ahead where an opening was interrupted.
 */
function checkIndex(index: MetaStore, path: string, { systemId, deviceId, counter }: Superblock): void {
  const format = index.get(indexKeys.format)
  if (format === undefined) throw damaged(path, 'its index is missing or empty', { deviceId })
  if (isNumberUpTo(format, Number.MAX_SAFE_INTEGER) && format > indexFormat)
    throw new StorageError('DEVICE_NEWER', {
      device: path,
      haveIndexFormat: format,
      knownFormat: indexFormat,
      remedy: 'upgrade this server, or open the device where it was',
    })
  if (!isNumberUpTo(format, indexFormat) || format < indexFormatMin)
    throw damaged(path, 'its index has no valid format')
  const owner = index.get(indexKeys.device)
  if (!Array.isArray(owner) || owner[0] !== systemId || owner[1] !== deviceId)
    throw damaged(path, `its index belongs to another device, ${String(owner)}`, { deviceId })
  const indexCounter = index.get(indexKeys.counter)
  if (indexCounter === counter || indexCounter === counter + 1) return
  const older = isNumberUpTo(indexCounter, counter)
    ? 'its index is older than the device'
    : 'it is older than its index'
  throw damaged(path, older, { indexCounter: String(indexCounter), deviceCounter: counter })
}

function loadIndex(index: MetaStore, path: string, slotCount: number) {
  const slots = new SlotTable(slotCount)
  const chunks = new ChunkTable()
  const counts = { thin: 0, thick: 0 }
  let volume = chunks.find(0)
  for (const { key, value } of index.range(indexKeys.chunks)) {
    const record = parseChunk(key, value, slotCount, path)
    if (!slots.own(record.slot)) throw ownedTwice(path, chunks, record)
    if (volume?.volume !== record.volume) volume = chunks.open(record.volume)
    volume.set(record.chunk, mappedEntry(record.slot, record.kind))
    counts[record.kind]++
  }
  for (const { key } of index.range(indexKeys.marks)) {
    const { volume, chunk } = parseChunkKey(key, path)
    chunks.open(volume).marks.set(chunk, touchAtOpening)
  }
  // Unless the last stop was clean, every free slot may hold data of a chunk that was removed, or never got its entry.
  const distrusted = parseDistrusted(index.get(indexKeys.clean))
  for (const range of distrusted ?? (mutate('trust-freed-slots-after-a-crash') ? [] : [{ first: 0, count: slotCount }]))
    slots.distrust(range)
  const { thin: thinChunks, thick: thickChunks } = counts
  return { slots, chunks, thinChunks, thickChunks, epochMax: epochMaxOf(index), cleanStop: distrusted !== null }
}

function epochMaxOf(index: MetaStore): number {
  let epochMax = 0
  for (const { key, value } of index.range(indexKeys.epochs))
    epochMax = Math.max(epochMax, parseEpoch(key, value)?.epoch ?? 0)
  return epochMax
}

function ownedTwice(path: string, chunks: ChunkTable, second: { volume: number; chunk: number; slot: number }) {
  const { volume, chunk, slot } = second
  const names = [`${chunk} of volume ${volume}`]
  for (const other of [...chunks.volumes(), volume])
    for (const { chunk, entry } of chunks.find(other)?.entries() ?? [])
      if (slotOf(entry) === slot) names.unshift(`${chunk} of volume ${other}`)
  return damaged(path, `two chunks claim slot ${slot}: ${[...new Set(names)].join(' and ')}`)
}
