import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { StorageError } from '../base/errors.js'
import type { StateDirectory, StateFile } from '../ports/state-directory.js'

/** Makes the directory if need be. Throws CONFIGURATION where it cannot be made or written. */
export function openStateDirectory(directory: string): StateDirectory {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    const remedy = 'choose a directory that the daemon may write'
    throw new StorageError('CONFIGURATION', { detail: 'no state directory', directory, remedy }, { cause })
  }
  const at = (name: string) => join(directory, name)
  return {
    read(name) {
      try {
        return readFileSync(at(name))
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
    },
    write(name, content) {
      const fresh = at(`${name}.new`)
      const fd = openSync(fresh, 'w', 0o600)
      try {
        writeFileSync(fd, content)
        fsyncSync(fd)
      } finally {
        closeSync(fd)
      }
      renameSync(fresh, at(name))
      syncDirectory(directory)
    },
    remove(name) {
      rmSync(at(name), { force: true })
    },
    list: () => readdirSync(directory),
    open: name => openStateFile(at(name)),
  }
}

function openStateFile(path: string): StateFile {
  const fd = openSync(path, 'r+')
  let open = true
  return {
    writeAt(offsetBytes, bytes) {
      for (let done = 0; done < bytes.length; )
        done += writeSync(fd, bytes, done, bytes.length - done, offsetBytes + done)
    },
    close() {
      if (open) closeSync(fd)
      open = false
    },
  }
}

function syncDirectory(directory: string): void {
  const fd = openSync(directory, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
