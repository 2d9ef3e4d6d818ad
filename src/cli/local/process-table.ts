import { spawn } from 'node:child_process'
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { StorageError } from '../../base/errors.js'
import { parseCpus } from '../../config/parse.js'
import { configPath, logPath, type ProcessIdentity, processDir, type Role } from './state.js'

export type RunState = 'running' | 'suspended' | 'down'

interface Stat {
  /** R, S, D, T (stopped by a signal), Z (ended, not yet collected) … */
  letter: string
  startTicks: number
}

export const thisBootId = (): string => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()

/** The CPUs that a process, or a thread as `PID/task/TID`, may run on (proc_pid_status(5)). */
export function cpusOf(task: string): number[] {
  const list = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync(`/proc/${task}/status`, 'utf8'))?.[1]
  return list === undefined ? [] : parseCpus(list)
}

/** Parses /proc/PID/stat; the name in it may hold blanks and brackets. */
export function parseStat(text: string): Stat {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { letter: fields[0]!, startTicks: Number(fields[19]) }
}

function readStat(pid: number): Stat | null {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return null
  }
}

/** True while threads of an ended process still finish what they do in the kernel, holding its locks. */
function hasOtherThreads(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).length > 1
  } catch {
    return false
  }
}

/**
 * What the process is doing now. `down` also if its pid belongs to another process by now (other start time, other
 * boot), so that nobody else's process is ever taken for ours.
 */
export function runStateOf(identity: ProcessIdentity | null): RunState {
  if (identity === null || identity.bootId !== thisBootId()) return 'down'
  const stat = readStat(identity.pid)
  if (stat === null || stat.startTicks !== identity.startTicks) return 'down'
  if (stat.letter === 'Z' || stat.letter === 'X') return hasOtherThreads(identity.pid) ? 'running' : 'down'
  return stat.letter === 'T' || stat.letter === 't' ? 'suspended' : 'running'
}

/** Sends a signal if the process is still the one that was started. Returns whether it was. */
export function signalProcess(identity: ProcessIdentity | null, signal: NodeJS.Signals): boolean {
  if (identity === null || runStateOf(identity) === 'down') return false
  try {
    process.kill(identity.pid, signal)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}

/** Waits until the process is down; false if it is not within `withinMs`. */
export async function waitUntilDown(identity: ProcessIdentity | null, withinMs: number): Promise<boolean> {
  const endMs = performance.now() + withinMs
  while (runStateOf(identity) !== 'down') {
    if (performance.now() > endMs) return false
    await sleep(20)
  }
  return true
}

const program = fileURLToPath(new URL('../blockmesh.js', import.meta.url))

/** lmdb holds two threads of Node's pool for each index that syncs; the pool's size can only be set from outside. */
const threadPoolSize = '32'

/** Starts a daemon in a session of its own, with its log file, so that it outlives this program and its terminal. */
export function startProcess(dir: string, name: string, role: Role): ProcessIdentity {
  const log = openSync(logPath(dir, name), 'a', 0o644)
  const { NOTIFY_SOCKET: _, ...env } = process.env
  try {
    const child = spawn(process.execPath, [program, role, '--config', configPath(dir, name)], {
      cwd: processDir(dir, name),
      detached: true,
      stdio: ['ignore', log, log],
      env: { UV_THREADPOOL_SIZE: threadPoolSize, ...env },
    })
    child.on('error', () => {})
    child.unref()
    const stat = child.pid === undefined ? null : readStat(child.pid)
    if (child.pid === undefined || stat === null)
      throw new StorageError('INTERNAL', { detail: `the process of ${name} could not be started` })
    return { pid: child.pid, startTicks: stat.startTicks, bootId: thisBootId() }
  } finally {
    closeSync(log)
  }
}

/** The last lines of a daemon's log, newest last. */
export function tailOfLog(dir: string, name: string, lineCount = 15): string[] {
  try {
    return readFileSync(logPath(dir, name), 'utf8').trimEnd().split('\n').slice(-lineCount)
  } catch {
    return []
  }
}
