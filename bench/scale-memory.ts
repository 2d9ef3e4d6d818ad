/**
 * Resident memory of daemons that have nothing to do: a local cluster of real processes without I/O. Prints a line of JSON and
 * a row for each process. `node dist/bench/scale-memory.js [SECONDS OF IDLENESS]`
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { printRows } from './scale/measure.js'

const idleSeconds = Number(process.argv[2] ?? 15)
const program = fileURLToPath(new URL('../src/cli/blockmesh.js', import.meta.url))
const directory = mkdtempSync(join(tmpdir(), 'blockmesh-scale-memory-'))
const local = (...args: string[]) =>
  execFileSync('node', [program, 'local', ...args, '--dir', directory], { stdio: ['ignore', 'ignore', 'inherit'] })

try {
  local('up', '--volume', 'vol1:8G')
  await sleep(idleSeconds * 1000)
  const { processes } = JSON.parse(readFileSync(join(directory, 'cluster.json'), 'utf8')) as {
    processes: { name: string; pid: number }[]
  }
  printRows(
    'scale-memory',
    processes.map(({ name, pid }) => ({ name, ...memoryOf(pid) })),
  )
} finally {
  local('down')
  rmSync(directory, { recursive: true, force: true })
}

/** MB, of the whole process; of these, its own and the program's. */
function memoryOf(pid: number): Record<string, number> {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const megabytes = (key: string) =>
    Math.round(Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) / 1024)
  return { residentMb: megabytes('VmRSS'), ownMb: megabytes('RssAnon'), filesMb: megabytes('RssFile') }
}
