import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '../../base/errors.js'
import { parseStat, runStateOf, thisBootId } from './process-table.js'
import type { ProcessIdentity } from './state.js'

const waitMs = 30_000

/** Does `work` while no other `blockmesh local` changes the same directory. A lock whose owner has ended is taken over. */
export async function withDirectoryLock<T>(dir: string, work: () => Promise<T>): Promise<T> {
  mkdirSync(resolve(dir), { recursive: true })
  const lock = join(resolve(dir), '.lock')
  const mine = `${lock}.${process.pid}`
  writeFileSync(mine, JSON.stringify(ownIdentity()))
  const endMs = performance.now() + waitMs
  try {
    while (!tryLink(mine, lock)) {
      const owner = readOwner(lock)
      if (owner !== null && runStateOf(owner) === 'down') rmSync(lock, { force: true })
      else if (performance.now() > endMs)
        throw new StorageError('IN_USE', {
          detail: `another blockmesh local is at work in ${resolve(dir)}`,
          ...(owner ? { pid: owner.pid } : {}),
          remedy: 'wait until it is done',
        })
      else await sleep(50)
    }
    try {
      return await work()
    } finally {
      rmSync(lock, { force: true })
    }
  } finally {
    rmSync(mine, { force: true })
  }
}

function ownIdentity(): ProcessIdentity {
  const { startTicks } = parseStat(readFileSync('/proc/self/stat', 'utf8'))
  return { pid: process.pid, startTicks, bootId: thisBootId() }
}

function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function readOwner(lock: string): ProcessIdentity | null {
  try {
    return JSON.parse(readFileSync(lock, 'utf8')) as ProcessIdentity
  } catch {
    return null
  }
}
