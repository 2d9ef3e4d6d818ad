import t from 'tap'
import { chunkBytes, KiB } from '../../../src/base/units.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, poolId } from './cluster.js'
import { Writer } from './writer.js'

t.setTimeout(120_000)

const all = Array.from({ length: 16 }, (_, chunk) => chunk)

for (const [role, n] of [
  ['secondary', 2],
  ['primary', 1],
] as const) {
  t.test(`clean restart of a ${role}: writes pause and go on, no epoch changes, nothing is copied`, async t => {
    const cluster = await Cluster.start()
    const writer = new Writer(cluster, all)
    await cluster.until(() => writer.answered > 100)
    await cluster.stop(n)
    await cluster.clock.runFor(2_000)
    await cluster.boot(n)
    const before = writer.answered
    await cluster.until(() => writer.answered > before + 100)
    await writer.stop()
    t.same(writer.failed, [])
    t.same(await writer.wrongBlocks(), [])
    t.ok(cluster.mdm.map.slices.get(poolId)!.every(({ epoch }) => epoch === 1))
    t.equal(cluster.metric(1, 'resync_bytes_total') + cluster.metric(2, 'resync_bytes_total'), 0)
    t.same(await cluster.differences(), [])
    await cluster.end()
  })

  for (const [how, fail] of [
    ['killed', (cluster: Cluster) => cluster.crash(n)],
    ['without power', (cluster: Cluster) => cluster.powerLoss(n)],
  ] as const)
    t.test(
      `a ${role} that was ${how} comes back as joining, is filled under load, and is equal in the end`,
      async t => {
        const cluster = await Cluster.start()
        const writer = new Writer(cluster, all)
        await cluster.until(() => writer.answered > 100)
        fail(cluster)
        await cluster.clock.runFor(500)
        await cluster.boot(n)
        await cluster.until(() => cluster.isInSync && cluster.record(0).epoch > 1)
        const before = writer.answered
        await cluster.until(() => writer.answered > before + 50)
        await writer.stop()
        t.same(writer.failed, [])
        t.same(await writer.wrongBlocks(), [])
        t.equal(cluster.record(0).primary, deviceIdOf(n === 1 ? 2 : 1))
        t.same(await cluster.differences(), [])
        await cluster.end()
      },
    )
}

t.test('a killed primary whose secondary is away serves nothing until the other is back', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, Buffer.alloc(512, 'a'))
  await cluster.stop(2)
  cluster.crash(1)
  await cluster.boot(1)
  await cluster.until(() => cluster.isServing(1))
  const waiting = await cluster.client(1)
  const read = waiting.request(opcodes.read, 0, { offset: 0, length: 512 })
  await cluster.clock.runFor(3_000)
  t.equal(waiting.unanswered, 1, 'its old role is void')
  await cluster.boot(2)
  await cluster.until(() => cluster.isInSync && cluster.record(1).epoch > 1)
  t.not((await cluster.clock.finish(read)).status, 0)
  t.equal(cluster.record(1).primary, deviceIdOf(2))
  t.equal((await (await cluster.client(2)).read(0, 0, 1))[0], 'a'.charCodeAt(0))
  await cluster.end()
})

t.test(
  'joining: a copy on a third SDS is filled under load, drops what the primary does not have, and is equal',
  async t => {
    const cluster = await Cluster.start({ sdss: 3 })
    const { mdm } = cluster
    const client = await cluster.client(1)
    for (const chunk of all) await client.mustWrite(chunk, 8 * KiB, Buffer.alloc(4 * KiB, 'a'))
    mdm.change(poolId, [0, 1, 2, 3], { joining: deviceIdOf(3) })
    await cluster.until(() => cluster.isInSync)
    t.equal(cluster.record(0).secondary, deviceIdOf(3))
    t.same(await cluster.differences(), [])

    // Copy 3 leaves; what changes meanwhile it must not keep when it joins again.
    mdm.change(poolId, [0, 1, 2, 3], { secondary: null })
    await cluster.settled()
    for (const chunk of [0, 1, 2, 3, 4, 5]) {
      const trim = client.request(opcodes.trim, chunk, { offset: 0, length: chunkBytes })
      t.equal((await cluster.clock.finish(trim)).status, 0)
    }
    await client.mustWrite(6, 0, Buffer.alloc(chunkBytes, 'b'))
    client.close()
    const writer = new Writer(cluster, all.slice(3))
    await cluster.until(() => writer.answered > 20)
    mdm.change(poolId, [0, 1, 2, 3], { joining: deviceIdOf(3) })
    await cluster.clock.runFor(2)
    for (let i = 0; i < 5; i++) {
      cluster.world.network.drop('sds-1', 'sds-3')
      await cluster.clock.runFor(3)
    }
    await cluster.until(() => cluster.isInSync)
    await writer.stop()
    t.same(await writer.wrongBlocks(), [])
    t.same(await cluster.differences(), [])
    await cluster.end()
  },
)

t.test(
  'joining: one that is killed while it is filled starts over; the primary killed, it is not promoted',
  async t => {
    const cluster = await Cluster.start({ sdss: 3 })
    const { mdm } = cluster
    const writer = new Writer(cluster, all)
    await cluster.until(() => writer.answered > 100)
    mdm.holdsJoins = true
    mdm.change(poolId, [0, 1, 2, 3], { joining: deviceIdOf(3) })
    await cluster.until(() => mdm.joinedReports.length > 0)
    cluster.crash(3)
    await cluster.clock.runFor(300)
    await cluster.boot(3)
    await cluster.until(() => mdm.joinedReports.some(({ slices }) => slices.some(({ epoch }) => epoch > 2)))
    cluster.crash(1)
    await cluster.clock.runFor(300)
    mdm.holdsJoins = false
    await cluster.boot(1)
    await cluster.until(() => cluster.isInSync)
    t.ok(mdm.map.slices.get(poolId)!.every(({ primary }) => primary === deviceIdOf(2)))
    await writer.stop()
    t.same(writer.failed, [])
    t.same(await writer.wrongBlocks(), [])
    t.same(await cluster.differences(), [])
    await cluster.end()
  },
)

t.test('stop: with a write that not every copy has, a device is not marked as cleanly stopped', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await cluster.stop(2)
  client.write(0, 0, Buffer.alloc(512, 'u'))
  await cluster.clock.runFor(100)
  await cluster.stop(1)
  await cluster.boot(2)
  await cluster.boot(1)
  await cluster.until(() => cluster.isInSync && cluster.record(1).epoch > 1)
  t.equal(cluster.record(1).primary, deviceIdOf(2), 'the copy that stopped cleanly is the authority')
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('joining: tables that change while a copy waits to be filled do not empty it', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  const { mdm } = cluster
  const client = await cluster.client(1)
  for (const chunk of all) await client.mustWrite(chunk, 0, Buffer.alloc(4 * KiB, 'k'))
  await cluster.stop(3)
  mdm.change(poolId, [0, 1, 2, 3], { joining: deviceIdOf(3) })
  await cluster.clock.runFor(300)
  mdm.commit([
    { kind: 'put', table: 'sdcs', value: { ...mdm.map.tables.sdcs.values().next().value!, name: 'renamed' } },
  ])
  await cluster.boot(3)
  await cluster.until(() => cluster.isInSync)
  t.equal(cluster.record(0).secondary, deviceIdOf(3))
  t.same(await cluster.differences(), [])
  t.equal(cluster.metric(3, 'device_slots_used'), all.length)
  await cluster.end()
})
