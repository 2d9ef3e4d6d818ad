import { setTimeout as sleep } from 'node:timers/promises'
import Table from 'cli-table3'
import { KiB, MiB } from '../../src/base/units.js'
import type { BlockmeshTarget } from '../targets/blockmesh.js'
import { print, round } from './bench-run.js'
import { type LoadOptions, type NbdLoad, openLoad } from './nbd-load.js'
import { cpuSecByRole, rssMiBByRole } from './process-usage.js'

/** What I/O of one kind costs. */
export interface Cost {
  iops: number
  latencyUsP50: number
  latencyUsP99: number
  /** Microseconds of CPU per I/O by role of the daemon, without what they use when they idle. */
  cpuUsPerIo: Record<string, number>
}

/** One point of a curve. */
export interface Point {
  /** Of one core, by role, all processes of the role together, without load. */
  idlePercent: Record<string, number>
  /** Of the largest process of a role, after the load. */
  rssMiB: Record<string, number>
  write: Cost
  read: Cost
  /** A write and a FLUSH, one after the other. */
  flushed: Cost
}

export interface PointOptions {
  /** Volumes over which the load is spread. */
  uris: readonly string[]
  /** Requests under way, over all volumes. */
  depth?: number
  /** Chunks that the load uses, over all volumes; at least one of each volume. */
  chunks?: number
  seconds?: number
}

const idleMs = 5_000
const warmUpMs = 3_000

/**
 * The cost of 4 KiB I/O on these volumes: fills the chunks, lets everything come to rest, then writes, then reads, then writes with a FLUSH after each. CPU per I/O
 * is what can be compared; IOPS on a machine that runs everything are limited by the same.
 */
export async function measurePoint(cluster: BlockmeshTarget, options: PointOptions): Promise<Point> {
  const { uris, depth = 16, chunks = 512, seconds = 4 } = options
  const rangeBytes = Math.max(1, Math.floor(chunks / uris.length)) * MiB
  const fill = await openLoad(uris, { depth: 8, sizes: [MiB], rangeBytes, isSequential: true })
  await fill.runFor(Number.POSITIVE_INFINITY)
  fill.close()
  await restOf(cluster)
  const idlePercent = await idleOf(cluster)
  const costOf = async (more: Pick<LoadOptions, 'command' | 'isFlushed' | 'depth'>): Promise<Cost> => {
    const load = await openLoad(uris, { sizes: [4 * KiB], rangeBytes, ...more })
    await load.runFor(warmUpMs)
    const cost = await measureLoad(cluster, load, seconds, idlePercent)
    load.close()
    return cost
  }
  return {
    idlePercent,
    write: await costOf({ depth }),
    read: await costOf({ depth, command: 'read' }),
    flushed: await costOf({ depth: 1, isFlushed: true }),
    rssMiB: rssMiBByRole(cluster.processes()),
  }
}

/** On a busy machine a process may have stalled so long that a copy had to leave: what brings it back is not part of a point. */
async function restOf(cluster: BlockmeshTarget): Promise<void> {
  const isWhole = () =>
    cluster.withMdm(async mdm => {
      const { pools } = await mdm.request('query', {})
      return pools.every(({ slices }) => slices.healthy === slices.total)
    })
  do await sleep(1_000)
  while (!(await isWhole()))
}

async function idleOf(cluster: BlockmeshTarget): Promise<Record<string, number>> {
  const before = cpuSecByRole(cluster.processes())
  await sleep(idleMs)
  return byRole(cpuSecByRole(cluster.processes()), (sec, role) =>
    round(((sec - before.get(role)!) / (idleMs / 1000)) * 100, 1),
  )
}

async function measureLoad(
  cluster: BlockmeshTarget,
  load: NbdLoad,
  seconds: number,
  idlePercent: Record<string, number>,
): Promise<Cost> {
  load.latencyMs.length = 0
  const before = cpuSecByRole(cluster.processes())
  const startedAtMs = performance.now()
  await load.runFor(seconds * 1_000)
  const elapsedSec = (performance.now() - startedAtMs) / 1_000
  const after = cpuSecByRole(cluster.processes())
  const sorted = [...load.latencyMs].sort((a, b) => a - b)
  const percentileUs = (share: number) => round(sorted[Math.floor(sorted.length * share)]! * 1_000, 0)
  return {
    iops: round(sorted.length / elapsedSec, 0),
    latencyUsP50: percentileUs(0.5),
    latencyUsP99: percentileUs(0.99),
    cpuUsPerIo: byRole(after, (sec, role) => {
      const used = sec - before.get(role)! - (idlePercent[role]! / 100) * elapsedSec
      return round((used / sorted.length) * 1e6, 1)
    }),
  }
}

const byRole = (values: Map<string, number>, value: (sec: number, role: string) => number): Record<string, number> =>
  Object.fromEntries([...values].map(([role, sec]) => [role, value(sec, role)]))

/** A curve on its way: each point is a line of JSON at once, all of them a table at the end. */
export class Curve {
  readonly #rows: string[][] = []

  /** `size` is what grows. */
  constructor(
    readonly bench: string,
    readonly size: string,
  ) {}

  add(size: number, point: Point): void {
    print({ bench: this.bench, [this.size]: size, ...point })
    const cells = ({ iops, latencyUsP99, cpuUsPerIo }: Cost) => [`${iops}`, `${latencyUsP99}`, shown(cpuUsPerIo)]
    this.#rows.push([
      `${size}`,
      ...cells(point.write),
      ...cells(point.read),
      ...cells(point.flushed),
      shown(point.idlePercent),
      shown(point.rssMiB),
    ])
  }

  show(): void {
    const costs = (kind: string) => [`${kind} IOPS`, 'p99 us', 'CPU us per I/O']
    const table = new Table({
      head: [this.size, ...costs('write'), ...costs('read'), ...costs('flushed'), 'idle, % of a core', 'RSS MiB'],
      style: { head: [], border: [], compact: true },
    })
    table.push(...this.#rows)
    console.log(table.toString())
  }
}

const shown = (values: Record<string, number>): string =>
  Object.entries(values)
    .map(([role, value]) => `${role} ${value}`)
    .join(', ')
