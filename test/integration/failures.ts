import type { Test } from 'tap'
import { addressOfCluster } from '../../src/cli/local/cluster-file.js'
import { withMdm } from '../../src/cli/mdm-session.js'
import type { ClusterMap, SliceRecord } from '../../src/model/index.js'
import type { SystemReport } from '../../src/wire/control.js'
import { type FioJob, fio, type LocalCluster, until } from '../support/local-cluster.js'

/** What tests of failures share: a load that verifies itself, and looks at slices from outside. */

const pauseMsMax = 5_000
const healWithinMs = 180_000

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

export const reportOf = async (cluster: LocalCluster): Promise<SystemReport> =>
  (await cluster.scli('--query_all')) as SystemReport

export const healthy = (cluster: LocalCluster): Promise<void> =>
  until('every slice has two copies', healWithinMs, async () => {
    const { slices } = (await reportOf(cluster)).pools[0]!
    return slices.healthy === slices.total
  })

/** The whole map, as an SDS or SDC has it. */
export async function mapOf(cluster: LocalCluster): Promise<ClusterMap> {
  return withMdm(addressOfCluster(cluster.dir), async client => {
    await client.subscribe()
    return client.map
  })
}

export async function recordsOf(cluster: LocalCluster): Promise<SliceRecord[]> {
  const { slices } = await mapOf(cluster)
  return [...slices.values()][0]!.map(record => ({ ...record }))
}

/** The sum of one metric over the SDSs, over all labels. */
export async function metricOf(cluster: LocalCluster, name: string, without: readonly string[] = []): Promise<number> {
  let sum = 0
  for (const sds of cluster.file.processes) {
    if (sds.role !== 'sds' || without.includes(sds.name)) continue
    for (const line of (await (await fetch(sds.metrics)).text()).split('\n'))
      if (line.startsWith(`blockmesh_sds_${name} `) || line.startsWith(`blockmesh_sds_${name}{`))
        sum += Number(line.slice(line.lastIndexOf(' ') + 1))
  }
  return sum
}

/** Writes 64 MiB at random, 16 at a time, for some 13 s, then reads and verifies them all. */
export const writeAndVerify = (uri: string, options = ''): Promise<FioJob> =>
  fio(
    `--name=load --ioengine=nbd --uri='${uri}' --rw=randwrite --bs=4k --iodepth=16 --size=64M --rate_iops=1250 ` +
      `--verify=crc32c --verify_state_save=0 ${options}`,
  )

/** Runs the load, does `trouble` two seconds into it, and expects no error, no wrong byte, and no long pause. */
export async function survives(
  t: Test,
  cluster: LocalCluster,
  title: string,
  trouble: () => Promise<void>,
  { fioOptions = '', pauseMs = pauseMsMax } = {},
): Promise<void> {
  await t.test(title, { timeout: 240_000 }, async t => {
    const load = writeAndVerify(cluster.volume('vol1').uri, fioOptions)
    // Its failure is told where it is awaited.
    load.catch(() => {})
    await sleep(2_000)
    await trouble()
    const { write, read } = await load
    t.equal(write.total_ios, 16_384)
    const longestMs = Math.max(write.clat_ns.max, read.clat_ns.max) / 1e6
    t.ok(longestMs < pauseMs, `the longest pause is ${longestMs.toFixed(0)} ms`)
    await healthy(cluster)
  })
}
