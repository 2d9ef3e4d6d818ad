import { StorageError } from '../../base/errors.js'
import { indexBytesFor } from '../../core/store/index.js'
import type { Disk, DiskDone, MetaStore, MetaWrite } from '../../ports/index.js'

/** The ports as promises, for opening and preparing devices, where one step follows the other. */

export const readDisk = (disk: Disk, offsetBytes: number, lengthBytes: number): Promise<Buffer> => {
  const target = Buffer.alloc(lengthBytes)
  return diskStep(disk, 'read', done => disk.read(offsetBytes, target, done)).then(() => target)
}

export const writeDisk = (disk: Disk, offsetBytes: number, bytes: Buffer): Promise<void> =>
  diskStep(disk, 'write', done => disk.write(offsetBytes, [bytes], done))

export const eraseDisk = (disk: Disk, offsetBytes: number, lengthBytes: number): Promise<void> =>
  diskStep(disk, 'erase', done => disk.erase(offsetBytes, lengthBytes, done))

export const syncDisk = (disk: Disk): Promise<void> => diskStep(disk, 'sync', done => disk.sync(done))

/** Makes all writes, durably. */
export async function commitDurably(index: MetaStore, path: string, writes: readonly MetaWrite[]): Promise<void> {
  await indexStep(path, done => index.commit(writes, done))
  await indexStep(path, done => index.flush(done))
}

/**
 * Sets room aside for the index of so many slots: then changes can be marked, and chunks removed, though whatever else is
 * on that file system fills it. Null, or the error that says what is missing.
 */
export async function indexRoomLack(index: MetaStore, path: string, slotCount: number): Promise<StorageError | null> {
  const wantBytes = indexBytesFor(slotCount)
  const reason = await index.reserve(wantBytes)
  if (reason === null) return null
  const detail = 'the file system of the state directory has no room for the index of the device'
  return new StorageError('OUT_OF_SPACE', { detail, device: path, wantBytes, reason, remedy: 'make room there' })
}

function diskStep(disk: Disk, verb: string, begin: (done: DiskDone) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    begin(errno =>
      errno === null ? resolve() : reject(new StorageError('MEDIA_ERROR', { device: disk.path, verb, errno })),
    ),
  )
}

function indexStep(path: string, begin: (done: (error: string | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) =>
    begin(text => {
      const facts = { device: path, error: String(text), remedy: 'look for a full or failing state directory' }
      if (text === null) resolve()
      else reject(new StorageError('MEDIA_ERROR', { detail: 'the index of the device cannot be written', ...facts }))
    }),
  )
}
