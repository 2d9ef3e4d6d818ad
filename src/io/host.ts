import { readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { StorageError } from '../base/errors.js'
import { addon, addonErrorText, isAddonError } from './addon.js'

// Flags of a task, from linux/sched.h: what PR_SET_IO_FLUSHER sets.
const flagMemallocNoio = 0x0008_0000
const flagLocalThrottle = 0x0010_0000

/** Names this boot of the host. Throws where it cannot be read: stores would then mistake a crash for a reboot. */
export function readBootId(): string {
  const path = '/proc/sys/kernel/random/boot_id'
  try {
    const bootId = readFileSync(path, 'utf8').trim()
    if (/^[0-9a-f-]{36}$/.test(bootId)) return bootId
    throw new Error(`"${bootId}" is not a boot id`)
  } catch (cause) {
    throw new StorageError(
      'CONFIGURATION',
      { detail: "the host's boot id cannot be read", path, remedy: 'mount proc on /proc' },
      { cause },
    )
  }
}

/**
 * Marks this process as one that block devices wait for, so that its allocations never wait for those devices in turn.
 * Call it at start. null when the mark was read back on every thread, else why it is not in effect.
 */
export function becomeIoFlusher(): string | null {
  try {
    addon.ioFlusherSet()
    if (!addon.ioFlusherGet()) return 'PR_SET_IO_FLUSHER succeeded without effect'
    const unmarked = threadsWithout(flagMemallocNoio | flagLocalThrottle)
    return unmarked.length === 0 ? null : `PR_SET_IO_FLUSHER did not reach the threads ${unmarked.join(', ')}`
  } catch (error) {
    return isAddonError(error) ? `${addonErrorText(error)}; it needs CAP_SYS_RESOURCE` : String(error)
  }
}

/**
 * Keeps this process from waiting for pages that only a block device can bring back. null when that was verified, else
 * why it is not in effect. The program and its libraries are locked in memory. The rest cannot be (V8 ends the process
 * when the kernel refuses to take back parts of its heap, as it does with locked ones): that it is never paged out
 * takes a host or a control group without swap.
 */
export function lockMemory(): string | null {
  try {
    const wantBytes = addon.memoryLockFiles()
    const haveBytes = lockedBytes()
    if (haveBytes < wantBytes) return `mlock took ${wantBytes} bytes, but /proc/self/status shows ${haveBytes}`
    return maySwap() ? 'its memory may be swapped out; set MemorySwapMax=0 in its unit or turn swap off' : null
  } catch (error) {
    if (!isAddonError(error)) return String(error)
    return `${addonErrorText(error)}; it needs CAP_IPC_LOCK or LimitMEMLOCK=infinity`
  }
}

/**
 * Keeps this thread, the event loop's, on some of the CPUs (sched_setaffinity(2)). Other threads go on wherever the
 * process may, except those that the kernel makes for io_uring, which go where their maker does. null when that is in
 * effect, else why it is not.
 */
export function keepLoopOn(cpus: readonly number[]): string | null {
  try {
    addon.loopCpusSet(cpus)
    return null
  } catch (error) {
    return isAddonError(error) ? addonErrorText(error) : String(error)
  }
}

/** CLOCK_BOOTTIME: counts suspend, never goes back. */
export const bootTimeMs = (): number => addon.bootTimeMs()

function threadsWithout(flags: number): number[] {
  const threads = readdirSync('/proc/self/task').map(Number)
  return threads.filter(thread => {
    try {
      return (taskFlags(thread) & flags) !== flags && !isDebuggerThread(thread)
    } catch {
      // It has ended meanwhile.
      return false
    }
  })
}

/** Field 9 of /proc/self/task/TID/stat; the name in field 2 may hold spaces and brackets. */
function taskFlags(thread: number): number {
  const status = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8')
  const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
  return Number(fields[6])
}

/** Node's thread that sleeps until SIGUSR1 asks for the debugger: the only one with all signals blocked. */
function isDebuggerThread(thread: number): boolean {
  return /^SigBlk:\s+f{7,}/m.test(readFileSync(`/proc/self/task/${thread}/status`, 'utf8'))
}

function lockedBytes(): number {
  const line = /^VmLck:\s+(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))
  return Number(line?.[1] ?? 0) * 1024
}

function maySwap(): boolean {
  const swapCount = linesOf('/proc/swaps').length - 1
  return swapCount > 0 && !isSwapForbidden()
}

/** True where this process's control group (version 2) or one above it has memory.swap.max 0. */
function isSwapForbidden(): boolean {
  const group = linesOf('/proc/self/cgroup').find(line => line.startsWith('0::'))
  for (let path = group?.slice('0::'.length) ?? '/'; path !== '/'; path = dirname(path)) {
    if (linesOf(`/sys/fs/cgroup${path}/memory.swap.max`)[0] === '0') return true
  }
  return false
}

/** Empty where the file is missing. */
function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').trim().split('\n')
  } catch {
    return []
  }
}
