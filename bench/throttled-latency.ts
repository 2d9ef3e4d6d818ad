/**
 * A volume that is limited to 500 IOPS beside one that is not, on one SDC. First: how evenly the limited one's I/Os end, at
 * several depths (gaps between answers). Then: a neighbour's latency alone and beside it, in turns; the two halves of each
 * pair follow each other, so that both see the same noise. Prints a JSON line per run and a summary.
 *
 * Tails are what others do to the machine as well: where it is shared, give the run a memory disk and priority,
 * `TMPDIR=/dev/shm chrt -r 1 node …`.
 *
 * `node dist/bench/throttled-latency.js [PAIRS] [SECONDS] [gaps|neighbour]`
 */
import { KiB, MiB } from '../src/base/units.js'
import { print, round, runBench } from './runner/bench-run.js'
import { fill, measure } from './runner/fio.js'
import { openLoad } from './runner/nbd-load.js'
import { median } from './runner/summary.js'
import { type BlockmeshTarget, startBlockmesh } from './targets/blockmesh.js'
import { randRead4kQ1 } from './workloads/rand-read-4k-q1.js'
import { randWrite4kQ16 } from './workloads/rand-write-4k-q16.js'

const pairs = Number(process.argv[2] ?? 9)
const seconds = Number(process.argv[3] ?? 3)
const part = process.argv[4] ?? 'both'
const iopsLimit = 500
const rangeBytes = 256 * MiB
const limited = 'limited'
const near = 'near'

const percentile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!

/** Gaps between the answers of a client that always has `depth` writes of these sizes under way. */
async function gaps(cluster: BlockmeshTarget, depth: number, sizes: readonly number[]): Promise<number> {
  const load = await openLoad([cluster.uriOf(limited)], { depth, sizes, rangeBytes })
  await load.runFor(1_000)
  load.answeredAtMs.length = 0
  await load.runFor(seconds * 1_000)
  load.close()
  const at = load.answeredAtMs
  const sorted = at
    .slice(1)
    .map((ms, i) => ms - at[i]!)
    .sort((a, b) => a - b)
  const mean = (at.at(-1)! - at[0]!) / sorted.length
  const p99ToMean = round(percentile(sorted, 0.99) / mean)
  print({
    bench: 'throttled-gaps',
    depth,
    sizesKib: sizes.map(bytes => bytes / KiB),
    iops: round(1000 / mean),
    gapMsMean: round(mean),
    gapMsP1: round(percentile(sorted, 0.01)),
    gapMsP50: round(percentile(sorted, 0.5)),
    gapMsP99: round(percentile(sorted, 0.99)),
    gapMsMax: round(sorted.at(-1)!),
    p99ToMean,
  })
  return p99ToMean
}

async function allGaps(cluster: BlockmeshTarget): Promise<void> {
  const ratios: number[] = []
  for (const depth of [1, 4, 16, 64]) ratios.push(await gaps(cluster, depth, [4 * KiB]))
  ratios.push(await gaps(cluster, 16, [4 * KiB, 32 * KiB, 16 * KiB, 64 * KiB]))
  print({ bench: 'throttled-gaps-summary', p99ToMeanMost: Math.max(...ratios), goal: 2 })
}

/** The neighbour's p99 alone and beside a saturating client of the limited volume. */
async function disturbance(cluster: BlockmeshTarget): Promise<void> {
  for (const workload of [randWrite4kQ16, randRead4kQ1]) {
    const ratios: number[] = []
    // The first pair warms the daemons up.
    for (let pair = 0; pair <= pairs; pair++) {
      const p99Us: Record<string, number> = {}
      for (const beside of pair % 2 === 0 ? [false, true] : [true, false]) {
        const load = beside ? await openLoad([cluster.uriOf(limited)], { depth: 16, sizes: [4096], rangeBytes }) : null
        // The first second has the burst that a pause earns.
        const loading = load?.runFor(1_000 + seconds * 1_000 + 2_000)
        if (load !== null) await new Promise(resolve => setTimeout(resolve, 1_000))
        const run = await measure(cluster, workload, { rangeBytes, seconds, repetition: pair })
        load?.stop()
        await loading
        load?.close()
        p99Us[String(beside)] = run.latencyUsP99
        const { iops, latencyUsMean, latencyUsP50, latencyUsP99 } = run
        print({
          bench: 'throttled-neighbour',
          workload: workload.name,
          pair,
          beside,
          iops,
          latencyUsMean,
          latencyUsP50,
          latencyUsP99,
        })
      }
      if (pair > 0) ratios.push(p99Us.true! / p99Us.false!)
    }
    print({
      bench: 'throttled-neighbour-summary',
      workload: workload.name,
      p99BesideToAlone: round(median(ratios)),
      min: round(Math.min(...ratios)),
      max: round(Math.max(...ratios)),
      goal: 1.1,
    })
  }
}

await runBench('throttled', async place => {
  const cluster = place.keep(
    await startBlockmesh({ ...place, rangeBytes }, { name: 'c', ioMode: 'direct', volumes: [near, limited] }),
  )
  const uri = cluster.uriOf(limited)
  for (const target of [cluster, { ...cluster, fio: () => ['--ioengine=nbd', `--uri=${uri}`] }])
    await fill(target, rangeBytes)
  await cluster.withMdm(mdm => mdm.request('setMappingLimits', { volume: limited, sdc: 'sdc-1', iopsLimit }))
  if (part !== 'neighbour') await allGaps(cluster)
  if (part !== 'gaps') await disturbance(cluster)
})
