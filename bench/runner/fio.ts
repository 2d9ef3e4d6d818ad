import { spawn } from 'node:child_process'
import type { Measurement } from './measurement.js'
import { cpuSecByRole, rssMiBByRole } from './process-usage.js'
import type { Target } from './target.js'
import type { Workload } from './workload.js'

/** fio is given this long beyond the time that it was told to run. */
const graceMs = 30_000
const fillMs = 300_000

interface FioSide {
  total_ios: number
  iops: number
  bw_bytes: number
  lat_ns: { mean: number; percentile?: Record<string, number> }
}
export interface FioJob {
  error: number
  read: FioSide
  write: FioSide
  mixed?: FioSide
  sync?: { total_ios: number; lat_ns: { mean: number } }
  usr_cpu: number
  sys_cpu: number
  job_runtime: number
}

/** Writes the whole range, so that no later run pays for the first touch. */
export async function fill(target: Target, rangeBytes: number): Promise<void> {
  await runFio(
    [...common(target, rangeBytes), '--rw=write', '--bs=1M', '--iodepth=8', '--end_fsync=1'],
    target.fioEnv,
    fillMs,
  )
}

/** Reads the whole range, so that what has just been started has in its caches what it would have by then. */
export async function readAll(target: Target, rangeBytes: number): Promise<void> {
  await runFio([...common(target, rangeBytes), '--rw=read', '--bs=1M', '--iodepth=8'], target.fioEnv, fillMs)
}

/** A job that ends by itself. */
export const runToFioEnd = (target: Target, options: readonly string[]): Promise<FioJob> =>
  runFio(['--name=bench', '--direct=1', ...target.fio(), ...options], target.fioEnv, fillMs)

/** One timed run of a workload. */
export async function measure(
  target: Target,
  workload: Workload,
  { rangeBytes, seconds, repetition }: { rangeBytes: number; seconds: number; repetition: number },
): Promise<Measurement> {
  const processes = target.processes()
  await target.loopMsP999?.()
  const before = cpuSecByRole(processes)
  const timed = ['--time_based', `--runtime=${seconds}`, '--randrepeat=0', '--norandommap', ...workload.fio]
  const job = await runFio([...common(target, rangeBytes), ...timed], target.fioEnv, seconds * 1000 + graceMs)
  const after = cpuSecByRole(processes)

  const sides = [job.read, job.write]
  const ios = sides.reduce((sum, side) => sum + side.total_ios, 0)
  const both = job.mixed ?? sides.reduce((most, side) => (side.total_ios > most.total_ios ? side : most))
  const percentileUs = (which: string) => round((both.lat_ns.percentile?.[which] ?? 0) / 1000, 1)
  const perKio = (cpuSec: number) => round((cpuSec / Math.max(1, ios)) * 1000, 4)
  const cpuSecPerKio: Record<string, number> = {}
  for (const [role, cpuSec] of after) cpuSecPerKio[role] = perKio(cpuSec - (before.get(role) ?? 0))
  cpuSecPerKio.fio = perKio(((job.usr_cpu + job.sys_cpu) / 100) * (job.job_runtime / 1000))
  return {
    workload: workload.name,
    target: target.name,
    repetition,
    iops: round(
      sides.reduce((sum, side) => sum + side.iops, 0),
      0,
    ),
    mbPerSec: round(sides.reduce((sum, side) => sum + side.bw_bytes, 0) / 1e6, 1),
    latencyUsMean: round(both.lat_ns.mean / 1000, 1),
    latencyUsP50: percentileUs('50.000000'),
    latencyUsP99: percentileUs('99.000000'),
    latencyUsP999: percentileUs('99.900000'),
    syncUsMean: job.sync && job.sync.total_ios > 0 ? round(job.sync.lat_ns.mean / 1000, 1) : null,
    cpuSecPerKio,
    rssMiB: rssMiBByRole(processes),
    loopMsP999: (await target.loopMsP999?.()) ?? {},
  }
}

const common = (target: Target, rangeBytes: number): string[] => [
  '--name=bench',
  `--size=${rangeBytes}`,
  '--direct=1',
  '--numjobs=1',
  '--unified_rw_reporting=both',
  '--lat_percentiles=1',
  '--clat_percentiles=0',
  '--percentile_list=50:99:99.9',
  ...target.fio(),
]

function runFio(options: readonly string[], env: NodeJS.ProcessEnv | undefined, timeoutMs: number): Promise<FioJob> {
  return new Promise((resolve, reject) => {
    const child = spawn('fio', [...options, '--output-format=json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs)
    const outputs = ['', '']
    child.stdout.on('data', (bytes: Buffer) => {
      outputs[0] += String(bytes)
    })
    child.stderr.on('data', (bytes: Buffer) => {
      outputs[1] += String(bytes)
    })
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const job = code === 0 ? jobOf(outputs[0]!) : null
      if (job !== null && job.error === 0) resolve(job)
      else reject(new Error(`fio ${signal ?? code}: ${outputs[1]!.slice(-500) || outputs[0]!.slice(0, 500)}`))
    })
  })
}

/** Remarks of fio come before its JSON. */
function jobOf(output: string): FioJob | null {
  try {
    return (JSON.parse(output.slice(output.indexOf('{\n'))) as { jobs: FioJob[] }).jobs[0] ?? null
  } catch {
    return null
  }
}

const round = (value: number, digits: number): number => Number(value.toFixed(digits))
