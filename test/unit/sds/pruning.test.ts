import t from 'tap'
import { KiB, MiB } from '../../../src/base/units.js'
import { Cluster, type ClusterOptions, deviceIdOf, poolId, sdsIdOf, sliceCount } from './cluster.js'

const all = Array.from({ length: 16 }, (_, chunk) => chunk)
const slices = Array.from({ length: sliceCount }, (_, slice) => slice)
const used = (cluster: Cluster, n: number) => cluster.metric(n, 'device_slots_used')

async function written(options: ClusterOptions = {}) {
  const cluster = await Cluster.start({ sdss: 3, ...options })
  const client = await cluster.client(1)
  for (const chunk of all) await client.mustWrite(chunk, 0, Buffer.alloc(8 * KiB, 'o'))
  return { cluster, client }
}

t.test('pruning: what left is kept while it may be needed, and dropped once two others are in sync', async t => {
  const { cluster } = await written()
  const { mdm } = cluster
  mdm.change(poolId, slices, { secondary: null, left: deviceIdOf(2) })
  await cluster.clock.runFor(20_000)
  t.equal(used(cluster, 2), 16, 'the copy that left')
  mdm.holdsJoins = true
  mdm.change(poolId, slices, { joining: deviceIdOf(3) })
  await cluster.clock.runFor(20_000)
  t.equal(used(cluster, 2), 16, 'while another one is filled')
  mdm.holdsJoins = false
  await cluster.until(() => cluster.isInSync)
  await cluster.until(() => used(cluster, 2) === 0)
  t.equal(cluster.metric(2, 'marks'), 0)
  t.equal(cluster.metric(2, 'chunks_pruned_total'), 16)
  t.same([used(cluster, 1), used(cluster, 3)], [16, 16])
  t.same(await cluster.differences(), [])

  mdm.change(poolId, slices, { joining: deviceIdOf(2) })
  await cluster.until(() => cluster.record(3).secondary === deviceIdOf(2))
  await cluster.until(() => used(cluster, 3) === 0)
  t.same(await cluster.differences(), [], 'and back again, whole')
  await cluster.end()
})

t.test('pruning: a device that returns after another took its place drops its chunks only once it serves', async t => {
  const { cluster } = await written()
  const { mdm } = cluster
  cluster.crash(2)
  mdm.change(poolId, slices, { secondary: null, left: deviceIdOf(2) })
  mdm.change(poolId, slices, { joining: deviceIdOf(3) })
  await cluster.until(() => cluster.isInSync)
  cluster.world.network.cut('sds-2', 'mdm')
  await cluster.boot(2)
  await cluster.clock.runFor(15_000)
  t.equal(used(cluster, 2), 16)
  cluster.world.network.heal()
  await cluster.until(() => cluster.isServing(2))
  await cluster.until(() => used(cluster, 2) === 0)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('joining: a copy without room is reported; writes wait until it is gone, and none fails', async t => {
  const { cluster, client } = await written({ deviceBytesOf: { 3: 12 * MiB } })
  const { mdm } = cluster
  mdm.change(poolId, slices, { joining: deviceIdOf(3) })
  const reported = () => mdm.status.get(sdsIdOf(1))?.flatMap(({ joiningFull = [] }) => joiningFull) ?? []
  await cluster.until(() => reported().length > 0)
  const writes = all.map(chunk => client.write(chunk, 0, Buffer.alloc(4 * KiB, 'n')))
  await cluster.clock.runFor(3_000)
  t.equal(client.unanswered, 5, 'the chunks for which it has no slot')
  mdm.change(poolId, slices, { joining: null })
  for (const write of writes) t.equal((await cluster.clock.finish(write)).status, 0)
  await cluster.until(() => reported().length === 0)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('progress: bytes and chunks of fills are in the status, and never more left than there were', async t => {
  const { cluster } = await written({
    policies: { rebuildPolicy: { kind: 'favorAppIos', concurrentIos: 1, bandwidthKbPerSec: 4 * 1024 } },
  })
  const { mdm, clock } = cluster
  const startMs = clock.nowMs()
  mdm.change(poolId, slices, { secondary: null, left: null })
  mdm.change(poolId, slices, { joining: deviceIdOf(3) })
  const status = () => mdm.status.get(sdsIdOf(1))![0]!
  await cluster.until(() => mdm.status.has(sdsIdOf(1)))
  await cluster.until(() => (status().resyncChunksTotal ?? 0) === 16 && status().resyncChunksLeft < 16)
  const middle = { ...status() }
  t.ok(middle.resyncChunksLeft > 0 && middle.resyncChunksLeft < 16)
  t.ok(middle.resyncBytesCopied! > 0 && middle.resyncBytesCopied! < 16 * MiB)
  await cluster.until(() => cluster.isInSync)
  const tookMs = clock.nowMs() - startMs
  t.ok(tookMs > 3_500 && tookMs < 6_000, `16 MiB at 4 MB/s took ${tookMs} ms`)
  await cluster.clock.runFor(2_000)
  t.same(status(), { ...status(), resyncChunksLeft: 0, resyncChunksTotal: 0, resyncBytesCopied: 16 * MiB })
  await cluster.end()
})

t.test('throttle: slices with one copy are filled before those that only move', async t => {
  const policy = { kind: 'favorAppIos', concurrentIos: 1, bandwidthKbPerSec: 8 * 1024 } as const
  const { cluster } = await written({ policies: { rebuildPolicy: policy, rebalancePolicy: policy } })
  const { mdm } = cluster
  mdm.change(poolId, [0, 1], { joining: deviceIdOf(3) })
  await cluster.clock.runFor(100)
  mdm.change(poolId, [2, 3], { secondary: null, joining: deviceIdOf(3) })
  await cluster.until(() => [2, 3].every(slice => cluster.record(slice).secondary === deviceIdOf(3)))
  t.ok(
    [0, 1].every(slice => cluster.record(slice).joining === deviceIdOf(3)),
    'moves are not finished yet',
  )
  await cluster.until(() => cluster.isInSync)
  t.same(await cluster.differences(), [])
  await cluster.end()
})
