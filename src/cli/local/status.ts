import { resolve } from 'node:path'
import type { FillProgress } from '../../wire/control.js'
import { formatSize, formatSizeTwice } from '../format/size.js'
import { formatTable } from '../format/table.js'
import { type ClusterFile, describeCluster } from './cluster-file.js'
import { problemsOf } from './health.js'
import type { RunState } from './process-table.js'
import { askCluster, askReport, runStatesOf } from './processes.js'
import { readState } from './state.js'

export interface LocalStatus extends ClusterFile {
  healthy: boolean
  problems: string[]
  /** null: no MDM answers. `master` is null while there is none. */
  mdmCluster: { mode: number | null; state: string; master: string | null } | null
  processes: (ClusterFile['processes'][number] & { state: RunState })[]
  pools: {
    name: string
    capacity: Record<string, number>
    slices: Record<string, number>
    rebuild: FillProgress | null
    rebalance: FillProgress | null
  }[]
}

export async function statusOf(dir: string): Promise<LocalStatus> {
  const state = readState(dir)
  const runStates = runStatesOf(state)
  const cluster = await askCluster(state)
  // Without a master nobody needs to look for one.
  const report = cluster === null || cluster.state === 'Error' ? null : await askReport(state)
  const file = describeCluster(dir, state, report)
  const problems = problemsOf(state, report, cluster, runStates)
  return {
    ...file,
    processes: file.processes.map(process => ({ ...process, state: runStates.get(process.name)! })),
    healthy: problems.length === 0,
    problems,
    mdmCluster: cluster && {
      mode: cluster.mode,
      state: cluster.state,
      master: cluster.mdms.find(({ id }) => id === cluster.masterId)?.name ?? null,
    },
    pools: (report?.pools ?? []).map(({ name, capacity, slices, rebuild, rebalance }) => ({
      name,
      capacity: { ...capacity },
      slices: { ...slices },
      rebuild: rebuild ?? null,
      rebalance: rebalance ?? null,
    })),
  }
}

export function formatStatus(dir: string, status: LocalStatus): string {
  const word = status.healthy ? 'healthy' : status.processes.every(p => p.state === 'down') ? 'down' : 'not healthy'
  const parts = [
    `Local cluster in ${resolve(dir)} (system ${status.systemId ?? 'not known yet'}): ${word}`,
    ...status.problems.map(problem => `    ${problem}`),
    mdmLine(status.mdmCluster),
    '',
    formatTable(
      ['Process', 'State', 'PID', 'Address', 'Metrics'],
      status.processes.map(({ name, state, pid, address, metrics }) => [name, state, pid, address, metrics]),
    ),
  ]
  if (status.pools.length > 0)
    parts.push(
      '',
      formatTable(
        ['Storage pool', 'Raw', 'In use', 'Spare', 'Usable', 'Free for volumes', 'Slices healthy', 'Filling'],
        status.pools.map(({ name, capacity, slices, ...filling }) => [
          name,
          ...['rawBytes', 'inUseBytes', 'spareBytes', 'usableBytes', 'freeForVolumesBytes'].map(key =>
            formatSize(capacity[key] ?? 0),
          ),
          `${slices.healthy} of ${slices.total}`,
          fillingWord(filling),
        ]),
      ),
    )
  if (status.volumes.length > 0)
    parts.push(
      '',
      formatTable(
        ['Volume', 'Size', 'SDC', 'Device', 'NBD'],
        status.volumes.map(({ name, sizeBytes, sdc, device, uri }) => [
          name,
          formatSizeTwice(sizeBytes),
          sdc,
          device,
          uri,
        ]),
      ),
    )
  return parts.join('\n')
}

const mdmLine = (cluster: LocalStatus['mdmCluster']): string =>
  cluster === null
    ? 'MDM cluster: no MDM answers'
    : `MDM cluster: ${cluster.mode ?? '?'} ${cluster.mode === 1 ? 'member' : 'members'}, ${cluster.state}, master ${cluster.master ?? 'none'}`

/** Moves wait until everything has two copies. */
function fillingWord({
  rebuild,
  rebalance,
}: Pick<LocalStatus['pools'][number], 'rebuild' | 'rebalance'>): string | null {
  const word = (what: string, progress: FillProgress | null): string[] =>
    progress === null || progress.bytesLeft === 0
      ? []
      : [`${what} ${progress.percent}%, ${formatSize(progress.bytesLeft)} left`]
  return [...word('rebuild', rebuild), ...word('rebalance', rebalance)].join('; ') || null
}
