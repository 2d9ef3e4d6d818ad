import { open as openHandle, readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '../base/errors.js'
import type { Disk, DiskPort } from '../ports/disk.js'
import { addon, addonErrorText, errnoName, isAddonError, type OpenedFile } from './addon.js'
import { FileDisk } from './file-disk.js'

/**
 * The kernel takes a ring apart after its process has ended: the lock of a process that was killed lies on the device until
 * the last of its transfers has landed, and a little longer. Only what stays busy is another one's.
 */
const busyPauseMs = 50
const busyTriesMax = 60

/** Files and block devices of this host. */
export const fileDisks: DiskPort = {
  async open(path, options): Promise<Disk> {
    const isBlock = await isBlockDevice(path)
    const create = options.createBytes !== undefined && !isBlock
    const opened = await openFile(path, {
      path,
      create,
      createBytes: options.createBytes ?? 0,
      direct: options.direct,
      exclusive: isBlock,
    })
    const disk = new FileDisk(path, opened, await stat(path, { bigint: true }).catch(() => null))
    if (opened.created) await syncDirectoryOf(disk)
    return disk
  },

  async candidates(places): Promise<string[]> {
    const found = new Map<string, string>()
    for (const place of places) {
      for (const path of await pathsAt(place)) {
        const identity = await identityOf(path)
        if (identity !== null && !found.has(identity)) found.set(identity, path)
      }
    }
    return [...found.values()]
  },
}

async function isBlockDevice(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isBlockDevice()
  } catch {
    // Opening says what is wrong, if anything is.
    return false
  }
}

async function openFile(path: string, options: Parameters<typeof addon.fileOpen>[0]): Promise<OpenedFile> {
  for (let tries = 1; ; tries++) {
    try {
      return await addon.fileOpen(options)
    } catch (error) {
      if (!isAddonError(error)) throw error
      const isBusy = ['EAGAIN', 'EBUSY'].includes(errnoName(error.errno))
      if (!isBusy || tries === busyTriesMax) throw openErrorOf(path, error.errno, addonErrorText(error), error)
      await sleep(busyPauseMs)
    }
  }
}

/** What the error of opening means to who wants a device. */
function openErrorOf(path: string, errno: number, system: string, cause: Error): StorageError {
  const facts = { device: path, system }
  switch (errnoName(errno)) {
    case 'ENOENT':
    case 'ENXIO':
    case 'ENODEV':
    case 'ENOTDIR':
      return new StorageError('NOT_FOUND', { detail: 'there is no such file or block device', ...facts }, { cause })
    case 'EAGAIN':
    case 'EBUSY':
      return new StorageError(
        'DEVICE_BUSY',
        { ...facts, remedy: 'stop the process that uses it, or unmount it; lsof and lslocks name the holder' },
        { cause },
      )
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new StorageError(
        'CONFIGURATION',
        { detail: 'the device may not be opened for writing', ...facts, remedy: 'give this user access to it' },
        { cause },
      )
    case 'EISDIR':
      return new StorageError(
        'BAD_ARGUMENT',
        { detail: 'this is not a regular file or block device', ...facts },
        { cause },
      )
    case 'EINVAL':
      if (system.startsWith('open with O_DIRECT'))
        return new StorageError(
          'CONFIGURATION',
          { detail: 'the file system cannot do direct I/O', ...facts, remedy: 'set io.mode: buffered' },
          { cause },
        )
      break
    case 'ENOSPC':
    case 'EFBIG':
    case 'EDQUOT':
      return new StorageError(
        'OUT_OF_SPACE',
        { detail: 'the file system cannot hold a file of this size', ...facts },
        { cause },
      )
  }
  return new StorageError('MEDIA_ERROR', facts, { cause })
}

/** A file that was just made is there after a power failure only once its directory is synced. */
async function syncDirectoryOf(disk: Disk): Promise<void> {
  try {
    const directory = await openHandle(dirname(disk.path))
    await directory.sync().finally(() => directory.close())
  } catch (cause) {
    await disk.close()
    throw new StorageError(
      'MEDIA_ERROR',
      { detail: 'the directory of the new file cannot be synced', device: disk.path },
      { cause },
    )
  }
}

/** The place itself, or what lies in it; in the order of names, so that scans repeat. */
async function pathsAt(place: string): Promise<string[]> {
  try {
    const names = await readdir(place)
    return names.sort().map(name => join(place, name))
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOTDIR' ? [place] : []
  }
}

/** One name for each thing that may be a device, however many links lead to it; null for everything else. */
async function identityOf(path: string): Promise<string | null> {
  try {
    const status = await stat(path, { bigint: true })
    if (status.isBlockDevice()) return `device ${status.rdev}`
    return status.isFile() ? `file ${status.dev} ${status.ino}` : null
  } catch {
    return null
  }
}
