import type { Measurement } from './measurement.js'
import type { Workload } from './workload.js'

/** Median, least and most of some runs. */
export interface Spread {
  median: number
  min: number
  max: number
}

/** All runs of one workload against one target. */
export interface Summary {
  workload: string
  target: string
  runs: number
  iops: Spread
  mbPerSec: Spread
  latencyUsMean: number
  latencyUsP50: number
  latencyUsP99: number
  latencyUsP999: number
  syncUsMean: number | null
  cpuSecPerKio: Record<string, number>
  rssMiB: Record<string, number>
  /** Of the worst run. */
  loopMsP999: Record<string, number>
  /** To the raw file in the same repetition. */
  toRaw: Spread | null
  /** How many times as fast as this target ours (the first, if there are several) is, in the same repetition. */
  ours: Spread | null
  goal: number | null
}

const yardstick = 'raw'

export const isOurs = (target: string): boolean => target.startsWith('ours')

export function summarize(workload: Workload, target: string, measurements: readonly Measurement[]): Summary | null {
  const ofWorkload = measurements.filter(one => one.workload === workload.name)
  const runs = ofWorkload.filter(one => one.target === target)
  if (runs.length === 0) return null
  const ratiosTo = (name: string) =>
    runs.flatMap(run => {
      const other = ofWorkload.find(one => one.target === name && one.repetition === run.repetition)
      return other === undefined ? [] : [run[workload.figure] / other[workload.figure]]
    })
  const ours = ofWorkload.find(one => isOurs(one.target))?.target
  const middle = (value: (run: Measurement) => number) => median(runs.map(value))
  const syncs = runs.flatMap(run => run.syncUsMean ?? [])
  return {
    workload: workload.name,
    target,
    runs: runs.length,
    iops: spreadOf(runs.map(run => run.iops)),
    mbPerSec: spreadOf(runs.map(run => run.mbPerSec)),
    latencyUsMean: middle(run => run.latencyUsMean),
    latencyUsP50: middle(run => run.latencyUsP50),
    latencyUsP99: middle(run => run.latencyUsP99),
    latencyUsP999: middle(run => run.latencyUsP999),
    syncUsMean: syncs.length > 0 ? median(syncs) : null,
    cpuSecPerKio: medianByKey(runs.map(run => run.cpuSecPerKio)),
    rssMiB: medianByKey(runs.map(run => run.rssMiB)),
    loopMsP999: mostByKey(runs.map(run => run.loopMsP999)),
    toRaw: target === yardstick ? null : ratioOf(ratiosTo(yardstick)),
    ours: ours === undefined || isOurs(target) ? null : ratioOf(ratiosTo(ours).map(ratio => 1 / ratio)),
    goal: workload.goal?.toRaw ?? null,
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

const spreadOf = (values: readonly number[]): Spread => ({
  median: median(values),
  min: Math.min(...values),
  max: Math.max(...values),
})

const ratioOf = (ratios: readonly number[]): Spread | null =>
  ratios.length > 0 ? spreadOf(ratios.map(ratio => Number(ratio.toFixed(3)))) : null

function mostByKey(records: readonly Record<string, number>[]): Record<string, number> {
  const most: Record<string, number> = {}
  for (const record of records)
    for (const [key, value] of Object.entries(record)) most[key] = Math.max(most[key] ?? 0, value)
  return most
}

function medianByKey(records: readonly Record<string, number>[]): Record<string, number> {
  const medians: Record<string, number> = {}
  for (const key of Object.keys(records[0]!)) medians[key] = median(records.map(record => record[key] ?? 0))
  return medians
}
