import { constants } from 'node:fs'
import { access, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StorageError } from '../base/errors.js'

// The head of each of the two meta pages (lmdb.c, MDB_page and MDB_meta; little-endian).
const pageBytes = 4096
const magicAt = 24
const versionAt = 28
const pageBytesAt = 48
const rootsAt = [88, 136]
const magic = 0xbeefc0de
const version = 2
const noRoot = 0xffff_ffff_ffff_ffffn

/**
 * lmdb ends the process where it cannot open its files, so they are looked at before. The caller holds the directory's
 * lock: a lock file of lmdb's own is left from an earlier process and worth nothing.
 */
export async function checkLmdbFiles(directory: string): Promise<void> {
  try {
    await rm(join(directory, 'lock.mdb'), { force: true })
    await access(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    throw damaged(directory, 'the directory cannot be written', cause)
  }
  const path = join(directory, 'data.mdb')
  const file = await open(path, 'r+').catch(error => {
    if (error.code === 'ENOENT') return null
    throw damaged(path, 'the file cannot be opened', error)
  })
  if (file === null) return
  try {
    const { size } = await file.stat()
    // What a process that died while it made the file leaves behind: nothing was ever committed to it.
    if (size === 0) return
    const metas = Buffer.alloc(2 * pageBytes)
    const { bytesRead } = await file.read(metas, 0, metas.length, 0)
    if (bytesRead < metas.length) throw damaged(path, 'the file is too short')
    for (const at of [0, pageBytes]) checkMeta(metas.subarray(at, at + pageBytes), size, path)
  } finally {
    await file.close()
  }
}

function checkMeta(meta: Buffer, fileBytes: number, path: string): void {
  if (meta.readUInt32LE(magicAt) !== magic) throw damaged(path, 'this is not an lmdb file')
  if ((meta.readUInt32LE(versionAt) & 0xffff) !== version) throw damaged(path, 'this is another version of lmdb')
  if (meta.readUInt32LE(pageBytesAt) !== pageBytes) throw damaged(path, 'the page size is not 4096')
  for (const at of rootsAt) {
    const root = meta.readBigUInt64LE(at)
    if (root !== noRoot && (root + 1n) * BigInt(pageBytes) > BigInt(fileBytes))
      throw damaged(path, 'the file is cut off')
  }
}

const damaged = (path: string, what: string, cause?: unknown) =>
  new StorageError('DEVICE_DAMAGED', { detail: `the metadata store is damaged: ${what}`, path }, { cause })
