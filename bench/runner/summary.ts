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
  /** To the raw file in the same repetition. */
  toRaw: Spread | null
  goal: number | null
}

const yardstick = 'raw'

export function summarize(workload: Workload, target: string, measurements: readonly Measurement[]): Summary | null {
  const ofWorkload = measurements.filter(one => one.workload === workload.name)
  const runs = ofWorkload.filter(one => one.target === target)
  if (runs.length === 0) return null
  const ratios = runs.flatMap(run => {
    const raw = ofWorkload.find(one => one.target === yardstick && one.repetition === run.repetition)
    return raw === undefined ? [] : [run[workload.figure] / raw[workload.figure]]
  })
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
    toRaw: ratios.length > 0 && target !== yardstick ? spreadOf(ratios.map(ratio => Number(ratio.toFixed(3)))) : null,
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

function medianByKey(records: readonly Record<string, number>[]): Record<string, number> {
  const medians: Record<string, number> = {}
  for (const key of Object.keys(records[0]!)) medians[key] = median(records.map(record => record[key] ?? 0))
  return medians
}
