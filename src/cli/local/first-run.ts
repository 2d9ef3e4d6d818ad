import { execFile } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { StorageError } from '../../base/errors.js'
import { GiB, MiB } from '../../base/units.js'
import { formatTable } from '../format/table.js'
import type { ClusterFile } from './cluster-file.js'

export const firstVolume = { name: 'vol1', sizeBytes: 8 * GiB, type: 'thin' as const }

/** Where `first-run` keeps its cluster unless told otherwise. */
export const defaultDir = (env: NodeJS.ProcessEnv): string =>
  join(env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'blockmesh', 'local')

/** The mixed load of the first run: what a block device of a virtual machine sees. */
const fioArguments = [
  '--name=first',
  '--ioengine=nbd',
  '--direct=1',
  '--iodepth=16',
  '--bs=64k,32k',
  '--rw=randrw',
  '--rwmixread=45',
  '--time_based',
  '--runtime=10',
  '--output-format=json',
]

export interface FioSide {
  iops: number
  mbPerSec: number
  meanMs: number
  p99Ms: number
}
export interface FioResult {
  read: FioSide
  write: FioSide
  errors: number
}

export async function runFirstJob(uri: string): Promise<FioResult> {
  try {
    const { stdout } = await promisify(execFile)('fio', [...fioArguments, `--uri=${uri}`], {
      timeout: 120_000,
      maxBuffer: 16 * MiB,
    })
    return readFioResult(stdout)
  } catch (error) {
    if (error instanceof StorageError) throw error
    const { code, stderr } = error as NodeJS.ErrnoException & { stderr?: string }
    if (code === 'ENOENT')
      throw new StorageError('NOT_FOUND', {
        detail: 'the program fio is not installed',
        remedy: 'apt-get install fio; the cluster is up and stays so',
      })
    const said = stderr?.trim().split('\n').at(-1) ?? String(error)
    throw new StorageError('MEDIA_ERROR', { detail: `fio failed: ${said}` }, { cause: error })
  }
}

interface FioReport {
  jobs: ({ error: number; job_name?: string } & Record<'read' | 'write', FioSideReport>)[]
}
interface FioSideReport {
  iops: number
  bw_bytes: number
  clat_ns: { mean: number; percentile?: Record<string, number> }
  lat_ns: { mean: number }
}

/** What fio prints before its JSON (notes, warnings) is left out. */
export function readFioResult(stdout: string): FioResult {
  const start = stdout.indexOf('{')
  let job: FioReport['jobs'][number] | undefined
  try {
    job = (JSON.parse(stdout.slice(start)) as FioReport).jobs[0]
  } catch (cause) {
    throw new StorageError('INTERNAL', { detail: 'fio did not print a result' }, { cause })
  }
  if (!job) throw new StorageError('INTERNAL', { detail: 'fio ran no job' })
  return { read: sideOf(job.read), write: sideOf(job.write), errors: job.error }
}

const sideOf = (side: FioSideReport): FioSide => ({
  iops: side.iops,
  mbPerSec: side.bw_bytes / MiB,
  meanMs: side.lat_ns.mean / 1e6,
  p99Ms: (side.clat_ns.percentile?.['99.000000'] ?? Number.NaN) / 1e6,
})

export function formatFioResult({ read, write }: FioResult): string {
  const row = (name: string, side: FioSide) => [
    name,
    side.iops.toFixed(0),
    side.mbPerSec.toFixed(1),
    `${side.meanMs.toFixed(2)} ms`,
    `${side.p99Ms.toFixed(2)} ms`,
  ]
  const head = ['', 'IOPS', 'MB/s', 'Mean latency', 'p99 latency']
  return formatTable(head, [row('read (64 KiB)', read), row('write (32 KiB)', write)])
}

/** How to use, watch and stop a cluster that runs. */
export function formatNextSteps(dir: string, file: ClusterFile): string {
  const lines: string[] = []
  const volume = file.volumes.find(candidate => candidate.uri !== null)
  if (volume?.uri) {
    lines.push('Attach:')
    if (volume.device) lines.push(`    ${volume.device} is the volume in this kernel: mkfs.ext4 ${volume.device}`)
    else {
      const socket = /socket=([^&]+)/.exec(volume.uri)?.[1]
      if (socket)
        lines.push(
          '    a kernel with the nbd module (the SDC attaches /dev/nbdX itself when it starts as root where that is loaded):',
          `        nbd-client -unix ${decodeURIComponent(socket)} -name ${volume.name} /dev/nbd0`,
        )
    }
    lines.push(`    QEMU:   -drive 'file=${volume.uri},format=raw,if=virtio'`, `    look:   nbdinfo '${volume.uri}'`)
  }
  lines.push(
    'Watch:',
    `    npx blockmesh local status --dir ${dir}`,
    `    npx scli --query_all --dir ${dir}`,
    `    curl ${file.processes.find(process => process.role === 'sds')?.metrics ?? ''}`,
    `    npx blockmesh check --dir ${dir}`,
    'Stop (data stays; `local up` goes on with it):',
    `    npx blockmesh local down --dir ${dir}`,
  )
  return lines.join('\n')
}

export function formatVolumes(file: ClusterFile): string {
  const volumes = file.volumes.filter(volume => volume.uri !== null)
  if (volumes.length === 0) return 'No volumes are mapped.'
  return volumes
    .map(
      ({ name, sizeBytes, uri, device }) => `    ${name}  ${sizeBytes / GiB} GB  ${uri}${device ? `  ${device}` : ''}`,
    )
    .join('\n')
}
