import Table from 'cli-table3'
import { isOurs, type Spread, type Summary } from './summary.js'
import type { Workload } from './workload.js'

/** The table of a whole run: one block for each workload, targets below each other. */
export function formatReport(workloads: readonly Workload[], summaries: readonly Summary[]): string {
  const table = new Table({
    head: [
      'workload',
      'target',
      'IOPS',
      'MB/s',
      'mean',
      'p50',
      'p99',
      'p99.9 us',
      'CPU s/1000 I/O',
      'RSS MiB',
      'loop ms p99.9',
      '/ raw',
      'ours is',
      'goal',
    ],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'left', ...Array<'right'>(6).fill('right'), 'left', 'left', 'left', 'right', 'right', 'right'],
  })
  for (const workload of workloads) {
    for (const [index, row] of summaries.filter(one => one.workload === workload.name).entries())
      table.push([index === 0 ? workload.title : '', ...cellsOf(row)])
  }
  return table.toString()
}

function cellsOf(row: Summary): string[] {
  const sync = row.syncUsMean === null ? '' : ` (sync ${row.syncUsMean.toFixed(0)})`
  return [
    row.target,
    withSpread(row.iops, 0),
    withSpread(row.mbPerSec, 0),
    row.latencyUsMean.toFixed(0) + sync,
    row.latencyUsP50.toFixed(0),
    row.latencyUsP99.toFixed(0),
    row.latencyUsP999.toFixed(0),
    byRole(row.cpuSecPerKio, 3),
    byRole(row.rssMiB, 0),
    byRole(row.loopMsP999, 0),
    row.toRaw === null ? '' : withSpread(row.toRaw, 2),
    row.ours === null ? '' : `${withSpread(row.ours, 2)} x`,
    isOurs(row.target) && row.goal !== null && row.toRaw !== null
      ? `${row.goal} ${row.toRaw.median >= row.goal ? 'reached' : 'missed'}`
      : '',
  ]
}

const withSpread = ({ median, min, max }: Spread, digits: number): string =>
  min === max ? median.toFixed(digits) : `${median.toFixed(digits)} (${min.toFixed(digits)}-${max.toFixed(digits)})`

const byRole = (values: Record<string, number>, digits: number): string =>
  Object.entries(values)
    .map(([role, value]) => `${role} ${value.toFixed(digits)}`)
    .join(', ')
