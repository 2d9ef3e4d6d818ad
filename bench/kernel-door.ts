/**
 * The kernel door: /dev/nbdX by us beside nbd-client with qemu-nbd, in one User-Mode-Linux guest, in turns. Prints the guest's
 * JSON lines, then a table of medians with the ratio to the first door that is not ours.
 * `node dist/bench/kernel-door.js [DOORS] [WORKLOADS] [SECONDS] [REPETITIONS] [LIMIT_SECONDS]`; doors: see kernel-door/doors.ts, as
 * `file:1,file:4/max_sectors_kb=128,qemu-nbd:1`; workloads: names, or all.
 */
import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { runBench } from './runner/bench-run.js'
import { median } from './runner/summary.js'

const doors = process.argv[2] ?? 'file:1,file:2,file:4,qemu-nbd:1,qemu-nbd:4'
const workloads = process.argv[3] ?? 'all'
const seconds = process.argv[4] ?? '2'
const repetitions = process.argv[5] ?? '3'
const limitMs = Number(process.argv[6] ?? 600) * 1000
const guest = fileURLToPath(new URL('../../test/kernel/guest', import.meta.url))
const inside = fileURLToPath(new URL('kernel-door/guest.js', import.meta.url))

interface Run {
  bench: string
  workload: string
  door: string
  iops: number
  mbPerSec: number
  latencyUsMean: number
  latencyUsP99: number
  cpuSecPerKio: Record<string, number>
}

/** What the guest printed, up to the limit; an error with its complaints if that is nothing. */
async function runGuest(directory: string, keep: (child: { stop(): Promise<void> }) => unknown): Promise<Run[]> {
  const command = [directory, process.execPath, inside, doors, workloads, seconds, repetitions]
  const env = { ...process.env, KERNEL_TEST_DISK: '12G' }
  const child = spawn(guest, command, { stdio: 'inherit', env, detached: true })
  // The guest's processes are processes of this host, and outlive its kernel.
  const kill = () => {
    try {
      process.kill(-child.pid!, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  keep({ stop: async () => kill() })
  const limit = setTimeout(kill, limitMs)
  await new Promise(resolve => child.once('exit', resolve))
  clearTimeout(limit)
  const textOf = (file: string) => readFile(join(directory, file), 'utf8').catch(() => '')
  const lines = (await textOf('stdout')).split('\n').filter(line => line.startsWith('{') && line.endsWith('}'))
  for (const line of lines) console.log(line)
  const runs = lines.map(line => JSON.parse(line) as Run).filter(run => run.bench === 'kernel-door')
  const exit = (await textOf('exit')).trim()
  if (exit === '0') return runs
  const said = `${await textOf('stderr')}\n${await textOf('console')}`.slice(-4_000)
  const how = exit === '' ? `did not end within ${limitMs / 1000} s` : `ended with ${exit}`
  if (runs.length === 0) throw new Error(`the guest ${how}:\n${said}`)
  console.error(`kernel-door: the guest ${how}; what it had measured by then:\n${said}`)
  return runs
}

await runBench('kernel-door', async ({ directory, keep }) => {
  const runs = await runGuest(directory, keep)
  const names = [...new Set(runs.map(run => run.door))]
  const peer = doors.split(',').find(door => door.startsWith('qemu'))
  const table = new Table({
    head: ['workload', 'door', 'IOPS', 'MB/s', 'mean us', 'p99 us', 'server CPU s/1000', '/ peer'],
    style: { head: [], border: [], compact: true },
  })
  for (const workload of new Set(runs.map(run => run.workload)))
    for (const door of names) {
      const those = runs.filter(run => run.workload === workload && run.door === door)
      const middle = (value: (run: Run) => number) => median(those.map(value))
      const ofPeer = runs.filter(run => run.workload === workload && run.door === peer).map(run => run.iops)
      const cpu = middle(run =>
        Object.entries(run.cpuSecPerKio).reduce((sum, [role, sec]) => sum + (role === 'fio' ? 0 : sec), 0),
      )
      table.push([
        workload,
        door,
        middle(run => run.iops).toFixed(0),
        middle(run => run.mbPerSec).toFixed(1),
        middle(run => run.latencyUsMean).toFixed(0),
        middle(run => run.latencyUsP99).toFixed(0),
        cpu.toFixed(3),
        ofPeer.length === 0 ? '' : (middle(run => run.iops) / median(ofPeer)).toFixed(2),
      ])
    }
  console.log(table.toString())
})
