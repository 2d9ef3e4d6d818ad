import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** A process whose CPU time and memory count for a target. */
export interface CountedProcess {
  role: string
  pid: number
}

const ticksPerSec = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
const pageBytes = Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }))

export interface Usage {
  cpuSec: number
  rssBytes: number
}

/** What /proc says of a process; zero once it is gone. */
export function usageOf(pid: number): Usage {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name, in brackets, may hold blanks.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return {
      cpuSec: (Number(fields[11]) + Number(fields[12])) / ticksPerSec,
      rssBytes: Number(fields[21]) * pageBytes,
    }
  } catch {
    return { cpuSec: 0, rssBytes: 0 }
  }
}

/** CPU seconds so far, added up by role. */
export function cpuSecByRole(processes: readonly CountedProcess[]): Map<string, number> {
  const sums = new Map<string, number>()
  for (const { role, pid } of processes) sums.set(role, (sums.get(role) ?? 0) + usageOf(pid).cpuSec)
  return sums
}

/** Resident memory by role: of the largest process. */
export function rssMiBByRole(processes: readonly CountedProcess[]): Record<string, number> {
  const largest: Record<string, number> = {}
  for (const { role, pid } of processes)
    largest[role] = Math.max(largest[role] ?? 0, Math.round(usageOf(pid).rssBytes / 2 ** 20))
  return largest
}
