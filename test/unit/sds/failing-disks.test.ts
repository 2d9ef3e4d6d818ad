import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { numberOfId } from '../../../src/base/ids.js'
import { blockBytes } from '../../../src/base/units.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, poolId, sdsIdOf } from './cluster.js'

const bytes = (letter: string) => Buffer.alloc(blockBytes, letter)
const slice = 1
const failWrites = (cluster: Cluster, n: number, operation: 'write' | 'sync' = 'write') =>
  cluster.ports.get(n)!.disks.fail(`/disks/${n}`, { operation, error: 'EIO' })
const errorOf = (cluster: Cluster, n: number) => cluster.mdm.status.get(sdsIdOf(n))?.[0]?.error ?? null

t.test('a primary whose disk fails tells the MDM at once, and its client never', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  failWrites(cluster, 1)
  const write = client.write(0, 0, bytes('n'))
  await cluster.clock.runFor(20)
  t.match(errorOf(cluster, 1), /EIO/, 'without waiting for the next report')
  await cluster.clock.runFor(3_000)
  t.equal(client.unanswered, 1)
  cluster.mdm.change(poolId, [0, 1, 2, 3], { primary: deviceIdOf(2), secondary: null })
  t.equal((await cluster.clock.finish(write)).status, errorTable.STALE_EPOCH.wire)
  const successor = await cluster.client(2)
  await successor.mustWrite(0, 0, bytes('n'))
  t.equal((await successor.read(0, 0, 1))[0], 'n'.charCodeAt(0))
  cluster.crash(1)
  cluster.crash(2)
})

t.test('a secondary whose disk fails: the write is held until the record goes on without it', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  failWrites(cluster, 2)
  const write = client.write(0, 0, bytes('n'))
  await cluster.clock.runFor(20)
  t.match(errorOf(cluster, 2), /EIO/)
  await cluster.clock.runFor(3_000)
  t.equal(client.unanswered, 1)
  cluster.mdm.change(poolId, [slice], { secondary: null })
  t.equal((await cluster.clock.finish(write)).status, 0)
  t.equal((await client.read(0, 0, 1))[0], 'n'.charCodeAt(0))
  cluster.crash(1)
  cluster.crash(2)
})

t.test('a joining copy whose disk fails: the write is held until the record goes on without it', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  failWrites(cluster, 3)
  cluster.mdm.change(poolId, [slice], { joining: deviceIdOf(3) })
  await cluster.settled()
  const write = client.write(0, 0, bytes('n'))
  await cluster.clock.runFor(1_000)
  t.equal(client.unanswered, 1)
  cluster.mdm.change(poolId, [slice], { joining: null })
  t.equal((await cluster.clock.finish(write)).status, 0)
  for (const n of [1, 2, 3]) cluster.crash(n)
})

t.test('the last copy in sync has nobody to hand over to: its errors go to the client', async t => {
  const cluster = await Cluster.start({ record: { secondary: null } })
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  failWrites(cluster, 1)
  const reply = await cluster.clock.finish(client.write(0, 0, bytes('n')))
  t.equal(reply.status, errorTable.MEDIA_ERROR.wire)
  t.match(errorOf(cluster, 1), /EIO/)
  cluster.crash(1)
  cluster.crash(2)
})

t.test('a write held at the failed primary is answered with its error once it is the last copy', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  failWrites(cluster, 1)
  const write = client.write(0, 0, bytes('n'))
  await cluster.clock.runFor(500)
  cluster.mdm.change(poolId, [slice], { secondary: null })
  t.equal((await cluster.clock.finish(write)).status, errorTable.MEDIA_ERROR.wire)
  cluster.crash(1)
  cluster.crash(2)
})

for (const isLast of [false, true])
  t.test(
    `flush on a disk that fails, ${isLast ? 'the last copy: an error' : 'with another copy: asked again'}`,
    async t => {
      const cluster = await Cluster.start(isLast ? { record: { secondary: null } } : {})
      const client = await cluster.client(1)
      await client.mustWrite(0, 0, bytes('o'))
      failWrites(cluster, 1, 'sync')
      const pairs = Buffer.alloc(8)
      pairs.writeUInt32BE(slice, 0)
      pairs.writeUInt32BE(cluster.record(slice).epoch, 4)
      const flush = () => cluster.clock.finish(client.request(opcodes.flush, 0, { body: [pairs], length: 0 }))
      const want = isLast ? errorTable.MEDIA_ERROR.wire : errorTable.NOT_READY.wire
      t.equal((await flush()).status, want)
      t.equal((await flush()).status, want, 'a second sync does not make up for the first')
      await cluster.clock.runFor(20)
      t.match(errorOf(cluster, 1), /EIO/)
      cluster.crash(1)
      cluster.crash(2)
    },
  )

t.test('record: a copy that joins during a write gets it before it is answered', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  cluster.mdm.holdsJoins = true
  const write = client.write(0, 0, bytes('n'))
  await cluster.clock.runFor(100)
  cluster.mdm.change(poolId, [slice], { joining: deviceIdOf(3) })
  await cluster.clock.runFor(500)
  t.equal(client.unanswered, 1)
  cluster.mdm.change(poolId, [slice], { secondary: null })
  t.equal((await cluster.clock.finish(write)).status, 0)
  t.ok(cluster.metric(3, 'copy_writes_total') > 0)
  cluster.mdm.holdsJoins = false
  cluster.world.network.heal()
  await cluster.until(() => cluster.record(slice).secondary === deviceIdOf(3))
  const checker = await cluster.client(1, { kind: 'check', client: 0, incarnation: 0 })
  const reply = await cluster.clock.finish(checker.request(opcodes.compare, 0, { epoch: 0, pool: numberOfId(poolId) }))
  t.equal(reply.status, 0)
  for (const n of [1, 2, 3]) cluster.crash(n)
})

t.test('record: a write that another primary may have overtaken in between is refused, not sent again', async t => {
  const cluster = await Cluster.start()
  const { mdm } = cluster
  const client = await cluster.client(1)
  await cluster.clock.runFor(1_500)
  const { epoch } = cluster.record(slice)
  cluster.world.network.cut('sds-1', 'sds-2')
  cluster.world.network.cut('sds-1', 'mdm')
  const write = client.write(0, 0, bytes('x'), { epoch })
  await cluster.clock.runFor(100)
  mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: null, left: deviceIdOf(1) })
  const successor = await cluster.client(2)
  await successor.mustWrite(0, 0, bytes('y'))
  // It comes back, is filled, and leads again; SDS 1 hears of all of it at once.
  mdm.change(poolId, [slice], { primary: deviceIdOf(1), secondary: deviceIdOf(2), left: null })
  cluster.world.network.heal()
  t.equal((await cluster.clock.finish(write)).status, errorTable.STALE_EPOCH.wire)
  for (const n of [1, 2]) cluster.crash(n)
})
