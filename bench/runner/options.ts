import { parseArgs } from 'node:util'
import { workloads } from '../workloads/index.js'
import type { Workload } from './workload.js'

/** How our devices are used: direct I/O with the RAM read cache as it is by default, large, or off; or the page cache. */
export type IoMode = 'direct' | 'cached' | 'uncached' | 'buffered'
const ioModes: readonly IoMode[] = ['direct', 'cached', 'uncached', 'buffered']

/** As many data servers as the peers have. */
export const sdssDefault = 2

export interface BenchOptions {
  isShort: boolean
  seconds: number
  /** Rounds before the ones that count. */
  warmUpRounds: number
  repetitions: number
  rangeBytes: number
  workloads: readonly Workload[]
  ioModes: readonly IoMode[]
  /** How many SDSs our clusters have, each count measured. */
  sdss: readonly number[]
  peers: string[]
  /** Parent of the directory that the targets use. */
  directory: string
}

export const usage = `Usage: npm run bench -- [options]
Measures Blockmesh, a raw file with direct I/O, nbdkit and others with the same fio jobs, in turns. Prints a JSON line for
each run and each summary, then a table.

  --short            small range, one second, once, direct I/O only
  --seconds N        of each run (default 5)
  --reps N           repetitions; the table has medians and spreads (default 5)
  --warm-up N        rounds of all workloads before the repetitions, which do not count (default 2, with --short 0)
  --only W,W         workloads: ${workloads.map(workload => workload.name).join(', ')}
  --range-mib N      range that is written first and then used (default 1024)
  --mode M,M         of our devices: direct, cached (direct, 512 MiB of RAM read cache in each SDS), uncached (direct, none),
                     buffered (page cache); default direct,cached,buffered
  --sdss N,N         of our clusters, each count with each mode; default ${sdssDefault}, as many data servers as the peers have
  --peers WHAT       qemu-nbd, [LABEL=]NBD-URI, or [LABEL=]PATH of a program that sets up a system; may be repeated
  --dir DIR          where the targets keep their files (default: the directory for temporary files)
`

/** Throws an Error that says what is wrong with the command line. */
export function parseOptions(args: string[]): BenchOptions | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      help: { type: 'boolean', default: false },
      short: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      reps: { type: 'string' },
      'warm-up': { type: 'string' },
      only: { type: 'string' },
      'range-mib': { type: 'string' },
      mode: { type: 'string' },
      sdss: { type: 'string', default: String(sdssDefault) },
      peers: { type: 'string', multiple: true, default: [] },
      dir: { type: 'string', default: process.env.TMPDIR ?? '/tmp' },
    },
  })
  if (values.help) return 'help'
  const isShort = values.short
  return {
    isShort,
    seconds: wholeNumber('--seconds', values.seconds, isShort ? 1 : 5, 600),
    warmUpRounds: wholeNumber('--warm-up', values['warm-up'], isShort ? 0 : 2, 100, 0),
    repetitions: wholeNumber('--reps', values.reps, isShort ? 1 : 5, 100),
    rangeBytes: wholeNumber('--range-mib', values['range-mib'], isShort ? 256 : 1024, 8192) * 2 ** 20,
    workloads: values.only === undefined ? workloads : values.only.split(',').map(workloadOf),
    ioModes: (values.mode ?? (isShort ? 'direct' : 'direct,cached,buffered')).split(',').map(ioModeOf),
    sdss: [...new Set(values.sdss.split(',').map(count => wholeNumber('--sdss', count, sdssDefault, 64, 2)))],
    peers: values.peers,
    directory: values.dir,
  }
}

function ioModeOf(name: string): IoMode {
  const found = ioModes.find(mode => mode === name)
  if (found) return found
  throw new Error(`--mode ${name}: there are ${ioModes.join(', ')}`)
}

function workloadOf(name: string): Workload {
  const found = workloads.find(workload => workload.name === name)
  if (found) return found
  throw new Error(`--only ${name}: there are ${workloads.map(workload => workload.name).join(', ')}`)
}

function wholeNumber(option: string, given: string | undefined, otherwise: number, max: number, min = 1): number {
  if (given === undefined) return otherwise
  const value = Number(given)
  if (Number.isInteger(value) && value >= min && value <= max) return value
  throw new Error(`${option} ${given}: must be a whole number from ${min} to ${max}`)
}
