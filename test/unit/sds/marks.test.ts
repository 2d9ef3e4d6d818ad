import t from 'tap'
import { chunkBytes, KiB, MiB } from '../../../src/base/units.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, type ClusterOptions, deviceIdOf, poolId, sliceCount, type TestClient } from './cluster.js'

const all = Array.from({ length: 16 }, (_, chunk) => chunk)
const slices = Array.from({ length: sliceCount }, (_, slice) => slice)
const marks = (cluster: Cluster, n: number) => cluster.metric(n, 'marks')
const copied = (cluster: Cluster, n: number) => ({
  bytes: cluster.metric(n, 'resync_bytes_total'),
  byMarks: cluster.metric(n, 'resync_marked_bytes_total'),
})

/** A cluster whose chunks are all written, without a mark left. */
async function written(options: ClusterOptions = {}): Promise<{ cluster: Cluster; client: TestClient }> {
  const cluster = await Cluster.start({ config: { marksIdleMs: 1_000 }, ...options })
  const client = await cluster.client(1)
  for (const chunk of all) await client.mustWrite(chunk, 0, Buffer.alloc(8 * KiB, 'o'))
  await cluster.until(() => marks(cluster, 1) === 0 && marks(cluster, 2) === 0)
  return { cluster, client }
}

const trim = async (cluster: Cluster, client: TestClient, chunk: number) =>
  (await cluster.clock.finish(client.request(opcodes.trim, chunk, { offset: 0, length: chunkBytes }))).status

t.test('marks: a copy that was away during writes gets the regions written meanwhile, and no others', async t => {
  const { cluster, client } = await written()
  const { mdm } = cluster
  mdm.change(poolId, slices, { secondary: null, left: deviceIdOf(2) })
  await cluster.settled()
  await client.mustWrite(3, 512 * KiB, Buffer.alloc(4 * KiB, 'n'))
  await client.mustWrite(7, 0, Buffer.alloc(4 * KiB, 'n'))
  t.equal(await trim(cluster, client, 5), 0)
  await cluster.clock.runFor(20_000)
  t.equal(marks(cluster, 1), 3, 'marks only accumulate while a copy is away')
  mdm.change(poolId, slices, { joining: deviceIdOf(2) })
  await cluster.until(() => cluster.isInSync)
  t.same(copied(cluster, 1), { bytes: 2 * MiB, byMarks: 2 * MiB })
  t.equal(cluster.metric(2, 'device_slots_used'), 15, 'a hole is a hole there too')
  t.same(await cluster.differences(), [])
  await cluster.until(() => marks(cluster, 1) === 0 && marks(cluster, 2) === 0)
  await cluster.end()
})

t.test('marks: what only the returning copy has, unacknowledged, is undone', async t => {
  const { cluster, client } = await written()
  const { mdm, world } = cluster
  world.network.cut('sds-1', 'sds-2')
  client.write(4, 0, Buffer.alloc(8 * KiB, 'x'))
  client.request(opcodes.trim, 9, { offset: 0, length: chunkBytes })
  await cluster.until(() => marks(cluster, 1) === 2)
  await cluster.clock.runFor(50)
  t.equal(client.unanswered, 2)
  // What was sent is lost with the connection.
  world.network.drop('sds-1', 'sds-2')
  cluster.crash(1)
  mdm.change(poolId, slices, { primary: deviceIdOf(2), secondary: null, left: deviceIdOf(1) })
  world.network.heal()
  await cluster.boot(1)
  await cluster.until(() => cluster.isServing(1) && cluster.isServing(2))
  mdm.change(poolId, slices, { joining: deviceIdOf(1) })
  await cluster.until(() => cluster.isInSync)
  t.same(copied(cluster, 2), { bytes: 2 * MiB, byMarks: 2 * MiB })
  const other = await cluster.client(2)
  for (const chunk of [4, 9]) t.ok((await other.read(chunk, 0, 8 * KiB)).equals(Buffer.alloc(8 * KiB, 'o')))
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('marks: another copy than the one that left gets everything, whatever is marked', async t => {
  const { cluster } = await written({ sdss: 3 })
  cluster.mdm.change(poolId, slices, { secondary: null, left: deviceIdOf(2) })
  cluster.mdm.change(poolId, slices, { joining: deviceIdOf(3) })
  await cluster.until(() => cluster.isInSync)
  t.same(copied(cluster, 1), { bytes: 16 * MiB, byMarks: 0 })
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test(
  'marks: a copy that has lost a chunk without a mark is found before it is reported, and filled whole',
  async t => {
    const { cluster } = await written()
    cluster.mdm.change(poolId, slices, { secondary: null, left: deviceIdOf(2) })
    await cluster.settled()
    // As if a mark had been lost with what it stood for: the copy drops chunks as another record lets it.
    cluster.mdm.change(poolId, [0], { primary: deviceIdOf(1), secondary: deviceIdOf(9), left: null })
    await cluster.until(() => cluster.metric(2, 'chunks_pruned_total') === 4)
    await cluster.clock.runFor(1_000)
    cluster.mdm.change(poolId, [0], { secondary: null, left: deviceIdOf(2), joining: deviceIdOf(2) })
    cluster.mdm.change(poolId, [1, 2, 3], { joining: deviceIdOf(2) })
    await cluster.until(() => cluster.isInSync)
    t.equal(cluster.metric(1, 'resync_differences_total'), 1)
    t.same(copied(cluster, 1), { bytes: 4 * MiB, byMarks: 0 })
    t.same(await cluster.differences(), [])
    await cluster.end()
  },
)

t.test('clearing: a write that comes between the sync and the clearing keeps its mark, on both copies', async t => {
  const { cluster, client } = await written()
  await client.mustWrite(1, 0, Buffer.alloc(4 * KiB, '1'))
  await client.mustWrite(2, 0, Buffer.alloc(4 * KiB, '1'))
  // The other copy's sync takes long; meanwhile chunk 1 is written again.
  cluster.world.network.slow('sds-1', 'sds-2', 400)
  const flushes = () => cluster.metric(2, 'flushes_total')
  const before = flushes()
  await cluster.until(() => flushes() > before)
  const cleared = cluster.metric(1, 'marks_cleared_total')
  const again = client.write(1, 0, Buffer.alloc(4 * KiB, '2'))
  await cluster.until(() => cluster.metric(1, 'marks_cleared_total') > cleared)
  cluster.world.network.heal()
  await cluster.clock.finish(again)
  t.same([marks(cluster, 1), cluster.metric(1, 'marks_cleared_total') - cleared], [1, 1])
  await cluster.clock.runFor(500)
  t.equal(marks(cluster, 2), 1)
  cluster.powerLoss(2)
  await cluster.clock.runFor(100)
  await cluster.boot(2)
  await cluster.until(() => cluster.isInSync && cluster.record(0).epoch > 1)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test("clearing: a crash between the own mark and the other copy's leaves one too many, which goes later", async t => {
  const { cluster, client } = await written()
  for (const chunk of [1, 2, 3]) await client.mustWrite(chunk, 0, Buffer.alloc(4 * KiB, '1'))
  const cleared = cluster.metric(1, 'marks_cleared_total')
  await cluster.until(() => cluster.metric(1, 'marks_cleared_total') > cleared)
  cluster.world.network.drop('sds-1', 'sds-2')
  cluster.crash(1)
  await cluster.clock.runFor(100)
  t.equal(marks(cluster, 2), 3)
  await cluster.boot(1)
  await cluster.until(() => cluster.isInSync && cluster.record(0).epoch > 1)
  t.equal(cluster.record(0).primary, deviceIdOf(2))
  t.same(await cluster.differences(), [])
  await cluster.until(() => marks(cluster, 1) === 0 && marks(cluster, 2) === 0)
  await cluster.end()
})

t.test('clearing: what the other copy did not hear of is asked for after a reconnect', async t => {
  const { cluster, client } = await written()
  for (const chunk of [1, 2, 3]) await client.mustWrite(chunk, 0, Buffer.alloc(4 * KiB, '1'))
  const cleared = cluster.metric(1, 'marks_cleared_total')
  await cluster.until(() => cluster.metric(1, 'marks_cleared_total') > cleared)
  cluster.world.network.drop('sds-1', 'sds-2')
  await cluster.clock.runFor(1)
  t.equal(marks(cluster, 2), 3)
  // Nothing but a request opens the session again.
  await client.mustWrite(12, 0, Buffer.alloc(4 * KiB, '1'))
  await cluster.until(() => marks(cluster, 1) === 0 && marks(cluster, 2) === 0)
  await cluster.end()
})

t.test('clearing: a copy that was filled whole loses its marks too', async t => {
  const { cluster } = await written({ sdss: 3 })
  cluster.mdm.change(poolId, slices, { secondary: null })
  cluster.mdm.change(poolId, slices, { joining: deviceIdOf(3) })
  await cluster.until(() => cluster.isInSync)
  t.equal(marks(cluster, 3), 16)
  await cluster.until(() => marks(cluster, 3) === 0)
  await cluster.end()
})

for (const seed of [1, 2, 3])
  t.test(
    `clearing, seed ${seed}: power lost at any moment beside slow writes, the copies are equal by marks alone`,
    async t => {
      const { cluster } = await written({ seed, config: { marksIdleMs: 300 } })
      const { random } = cluster.world
      const clients = new Map<number, TestClient>()
      for (let round = 0; round < 6; round++) {
        const n = cluster.record(0).primary === deviceIdOf(1) ? 1 : 2
        clients.get(n)?.close()
        const client = await cluster.client(n)
        clients.set(n, client)
        const untilMs = cluster.clock.nowMs() + 1_000 + random.integer(6_000)
        while (cluster.clock.nowMs() < untilMs) {
          client.write(random.integer(6), random.integer(64) * 4 * KiB, Buffer.alloc(4 * KiB, round))
          await cluster.clock.runFor(random.integer(300))
        }
        const lost = 1 + random.integer(2)
        const { epoch } = cluster.record(0)
        cluster.powerLoss(lost)
        await cluster.clock.runFor(random.integer(300))
        await cluster.boot(lost)
        await cluster.until(() => cluster.isInSync && cluster.record(0).epoch > epoch)
        t.same(await cluster.differences(), [])
      }
      const total = [1, 2].reduce((sum, n) => sum + cluster.metric(n, 'resync_bytes_total'), 0)
      t.ok(total <= 6 * 6 * MiB, 'never more than the six chunks that were written')
      t.equal(cluster.metric(1, 'resync_differences_total') + cluster.metric(2, 'resync_differences_total'), 0)
      await cluster.end()
    },
  )

t.test('marks: up to so many chunks keep their marks for a minute; beyond, those left alone lose theirs', async t => {
  const cluster = await Cluster.start({ config: { marksIdleMs: 1_000, marksKept: 8 } })
  const client = await cluster.client(1)
  for (const chunk of all.slice(0, 8)) await client.mustWrite(chunk, 0, Buffer.alloc(8 * KiB, 'o'))
  await cluster.clock.runFor(40_000)
  t.equal(marks(cluster, 1), 8)
  await client.mustWrite(8, 0, Buffer.alloc(8 * KiB, 'o'))
  await cluster.until(() => marks(cluster, 1) === 1 && marks(cluster, 2) === 1)
  await cluster.clock.runFor(50_000)
  t.equal(marks(cluster, 1), 1)
  await cluster.clock.runFor(40_000)
  t.same([marks(cluster, 1), marks(cluster, 2)], [0, 0])
  await cluster.end()
})
