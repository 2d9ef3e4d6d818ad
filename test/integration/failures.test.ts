import t, { type Test } from 'tap'
import { type FioJob, fio, type LocalCluster, startLocalCluster, until } from '../support/local-cluster.js'

const pauseMsMax = 5_000

interface Query {
  pools: { slices: Record<'total' | 'healthy' | 'joining' | 'degraded' | 'failed', number> }[]
}

const slicesOf = async (cluster: LocalCluster) => ((await cluster.scli('--query_all')) as Query).pools[0]!.slices

const healthy = (cluster: LocalCluster) =>
  until('every slice has two copies', 180_000, async () => {
    const slices = await slicesOf(cluster)
    return slices.healthy === slices.total
  })

/** Writes 64 MiB at random for some 16 s, then reads and verifies them all. */
const writeAndVerify = (uri: string): Promise<FioJob> =>
  fio(
    `--name=load --ioengine=nbd --uri='${uri}' --rw=randwrite --bs=4k --iodepth=16 --size=64M --rate_iops=1000 ` +
      '--verify=crc32c --verify_state_save=0',
  )

const clusterShape = ['--sdss', '4', '--fault-sets', '4', '--volume', 'vol1:8G']

/** Runs the load, does `trouble` a few seconds into it, and expects no error and no long pause. */
async function survives(t: Test, title: string, trouble: (cluster: LocalCluster) => Promise<void>): Promise<void> {
  await t.test(title, async t => {
    const cluster = await startLocalCluster(t, ...clusterShape)
    const load = writeAndVerify(cluster.volume('vol1').uri)
    await new Promise(resolve => setTimeout(resolve, 5_000))
    await trouble(cluster)
    const { write, read } = await load
    t.equal(write.total_ios, 16_384)
    const pauseMs = Math.max(write.clat_ns.max, read.clat_ns.max) / 1e6
    t.ok(pauseMs < pauseMsMax, `the longest pause is ${pauseMs.toFixed(0)} ms`)
    await healthy(cluster)
    await cluster.check()
  })
}

t.test('failures: no single one is seen by an application', async t => {
  await survives(t, 'an SDS is killed, and comes back after ten seconds', async cluster => {
    await cluster.local('kill', 'sds-2')
    await new Promise(resolve => setTimeout(resolve, 10_000))
    await cluster.local('start', 'sds-2')
  })
  await survives(t, 'an SDS stands still for eight seconds, and goes on', async cluster => {
    await cluster.local('stop', 'sds-3')
    await new Promise(resolve => setTimeout(resolve, 8_000))
    await cluster.local('cont', 'sds-3')
  })
  await survives(t, 'the MDM is killed and comes back, and an SDS restarts meanwhile', async cluster => {
    await cluster.local('kill', 'mdm-1')
    await new Promise(resolve => setTimeout(resolve, 2_000))
    await cluster.local('start', 'mdm-1')
    await cluster.local('terminate', 'sds-1')
    await cluster.local('start', 'sds-1')
  })
})
