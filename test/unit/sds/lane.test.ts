import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { blockBytes, chunkBytes, MiB } from '../../../src/base/units.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, poolId, sdsIdOf } from './cluster.js'

const bytes = (letter: string) => Buffer.alloc(blockBytes, letter)
const slice = 1

/** A cluster with a chunk that has been written twice: primary and secondary, SDS 1 and 2, have lanes for it. */
async function prepared() {
  const cluster = await Cluster.start()
  await cluster.clock.runFor(1_500)
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('a'))
  await client.mustWrite(0, 0, bytes('b'))
  const byPass = () => cluster.metric(2, 'copies_by_pass_total')
  const writesByPass = () => cluster.metric(1, 'writes_by_pass_total')
  return { cluster, client, byPass, writesByPass }
}

t.test('a chunk that is changed again and again is written below TypeScript at the secondary', async t => {
  const { cluster, client, byPass } = await prepared()
  t.equal(byPass(), 0)
  await client.mustWrite(0, blockBytes, bytes('c'))
  await client.mustWrite(0, 2 * blockBytes, bytes('d'))
  t.equal(byPass(), 2)
  t.equal(cluster.metric(2, 'copy_writes_total'), 4, 'all writes are counted together')
  t.same(await cluster.differences(), [])
  t.equal((await client.read(0, 0, 3 * blockBytes)).toString('latin1', 0, 1), 'b')
  await cluster.end()
})

t.test('whoever wants something else of the chunk gets it', async t => {
  const { cluster, client, byPass } = await prepared()
  const writes = [0, 1, 2, 3].map(n => client.write(0, n * blockBytes, bytes('w')))
  const trim = client.request(opcodes.trim, 0, { offset: 0, length: chunkBytes })
  const after = client.write(0, blockBytes, bytes('x'))
  for (const one of [...writes, trim, after]) t.equal((await cluster.clock.finish(one)).status, 0)
  const expected = Buffer.alloc(chunkBytes)
  bytes('x').copy(expected, blockBytes)
  t.ok((await client.read(0)).equals(expected))
  t.ok(byPass() > 0)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('a lane ends with the epoch', async t => {
  const { cluster, client, byPass } = await prepared()
  cluster.mdm.change(poolId, [slice], {})
  await cluster.settled()
  await client.mustWrite(0, 0, bytes('e'))
  t.equal(byPass(), 0)
  await client.mustWrite(0, 0, bytes('f'))
  t.equal(byPass(), 1)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('what was written so is durable after a FLUSH', async t => {
  const { cluster, client, byPass } = await prepared()
  const copy = await cluster.client(2)
  const flush = () => copy.request(opcodes.flush, 0, { body: flushed(cluster), length: 0 })
  t.equal((await cluster.clock.finish(flush())).status, 0)
  await client.mustWrite(0, 0, bytes('f'))
  t.equal(byPass(), 1)
  t.equal((await cluster.clock.finish(flush())).status, 0)
  cluster.powerLoss(2)
  await cluster.clock.runFor(100)
  await cluster.boot(2)
  cluster.mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: null })
  await cluster.settled()
  const other = await cluster.client(2)
  t.equal((await other.read(0, 0, blockBytes)).toString('latin1', 0, 1), 'f')
  await cluster.end()
})

t.test('a chunk keeps its lane for a minute without requests, no longer, and then its mark may be cleared', async t => {
  const { cluster, client, byPass } = await prepared()
  await client.mustWrite(0, 0, bytes('g'))
  t.equal(byPass(), 1)
  await cluster.clock.runFor(50_000)
  await client.mustWrite(0, 0, bytes('h'))
  t.equal(byPass(), 2)
  await cluster.clock.runFor(70_000)
  await client.mustWrite(0, 0, bytes('i'))
  t.equal(byPass(), 2)
  await cluster.clock.runFor(150_000)
  t.match([cluster.metric(1, 'marks_cleared_total'), cluster.metric(2, 'marks_cleared_total')], [1, 1])
  await cluster.end()
})

t.test('a chunk that was changed a while ago has a lane with its next change', async t => {
  const { cluster, client, byPass } = await prepared()
  await client.mustWrite(1, 0, bytes('k'))
  await cluster.clock.runFor(8_000)
  await client.mustWrite(1, 0, bytes('k'))
  await client.mustWrite(1, 0, bytes('l'))
  t.equal(byPass(), 1)
  await cluster.end()
})

t.test('of more than 1,024 lanes those without requests end, 512 at a time, until the rest may stay', async t => {
  const chunks = 1_030
  const cluster = await Cluster.start({ chunks, deviceBytesOf: { 1: 1_200 * MiB, 2: 1_200 * MiB } })
  await cluster.clock.runFor(1_500)
  const client = await cluster.client(1)
  for (let chunk = 0; chunk < chunks; chunk++)
    for (const letter of ['l', 'm']) await client.mustWrite(chunk, 0, bytes(letter))
  const lanes = () => [1, 2].map(n => cluster.metric(n, 'device_lanes'))
  t.same(lanes(), [chunks, chunks])
  await cluster.until(() => lanes().every(count => count < chunks))
  t.same(lanes(), [chunks - 512, chunks - 512])
  await cluster.clock.runFor(20_000)
  t.same(lanes(), [chunks - 512, chunks - 512], 'what stays has its minute')
  for (let chunk = 0; chunk < chunks; chunk++) await client.mustWrite(chunk, 0, bytes('n'))
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('a clean stop ends lanes, and is clean', async t => {
  const { cluster, client, byPass } = await prepared()
  await client.mustWrite(0, 0, bytes('i'))
  t.equal(byPass(), 1)
  await cluster.stop(2)
  cluster.mdm.opened.clear()
  await cluster.boot(2)
  await cluster.until(() => cluster.mdm.opened.has(sdsIdOf(2)))
  t.same(
    cluster.mdm.opened.get(sdsIdOf(2))!.map(({ cleanStop }) => cleanStop),
    [true],
  )
  await cluster.end()
})

t.test('a client writes and reads a busy chunk below TypeScript at the primary', async t => {
  const { cluster, client, writesByPass } = await prepared()
  const reads = () => cluster.metric(1, 'reads_by_pass_total')
  const writes = Array.from({ length: 8 }, (_, n) => client.write(0, n * blockBytes, bytes(`${n}`)))
  for (const one of writes) t.equal((await cluster.clock.finish(one)).status, 0)
  t.equal(writesByPass(), 8)
  for (let n = 0; n < 8; n++)
    t.equal((await client.read(0, n * blockBytes, blockBytes)).toString('latin1', 0, 1), `${n}`)
  t.equal(reads(), 8)
  t.match([cluster.metric(1, 'writes_total'), cluster.metric(1, 'reads_total')], [10, 8])
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('what overlaps something under way comes after it, in the order in which it was asked', async t => {
  const { cluster, client } = await prepared()
  for (let round = 0; round < 20; round++) {
    const asked = ['x', 'y', 'z'].map(letter => client.write(0, 0, bytes(letter)))
    const read = client.request(opcodes.read, 0, { offset: 0, length: blockBytes })
    for (const one of asked) t.equal((await cluster.clock.finish(one)).status, 0)
    t.equal(Buffer.concat((await cluster.clock.finish(read)).body).toString('latin1', 0, 1), 'z')
  }
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('a write that the other copy has not answered is finished there, whatever became of the client', async t => {
  const { cluster, client, writesByPass } = await prepared()
  cluster.world.network.cut('sds-1', 'sds-2')
  for (let n = 0; n < 4; n++) void client.write(0, n * blockBytes, bytes('q')).catch(() => {})
  await cluster.clock.runFor(20)
  client.close()
  await cluster.clock.runFor(200)
  t.equal(writesByPass(), 0)
  cluster.world.network.heal()
  await cluster.clock.runFor(3_000)
  t.equal(cluster.metric(1, 'writes_unfinished_total'), 4)
  t.same(await cluster.differences(), [])
  const other = await cluster.client(1, { counter: 50 })
  t.equal((await other.read(0, 0, blockBytes)).toString('latin1', 0, 1), 'q')
  await cluster.end()
})

t.test('nobody is shown a write that the other copy does not have yet', async t => {
  const { cluster, client } = await prepared()
  cluster.world.network.cut('sds-1', 'sds-2')
  void client.write(0, 0, bytes('n')).catch(() => {})
  await cluster.clock.runFor(5)
  const reads = [0, 1].map(() => client.request(opcodes.read, 0, { offset: 0, length: blockBytes }))
  await cluster.clock.runFor(200)
  t.equal(client.unanswered, 3, 'the lane has ended, and the reads wait for who finishes the write')
  cluster.world.network.heal()
  for (const read of reads)
    t.equal(Buffer.concat((await cluster.clock.finish(read)).body).toString('latin1', 0, 1), 'n')
  t.equal(cluster.metric(1, 'writes_unfinished_total'), 1)
  await cluster.end()
})

t.test('a write that the other copy answers while its lane ends is not sent again', async t => {
  const { cluster, client } = await prepared()
  const copies = () => cluster.metric(2, 'copy_writes_total')
  const before = copies()
  const write = client.write(0, 0, bytes('o'))
  const read = client.request(opcodes.read, 0, { offset: 0, length: blockBytes })
  t.equal((await cluster.clock.finish(write)).status, 0)
  t.equal(Buffer.concat((await cluster.clock.finish(read)).body).toString('latin1', 0, 1), 'o')
  t.equal(copies(), before + 1)
  t.equal(cluster.metric(1, 'writes_unfinished_total'), 0)
  await cluster.end()
})

t.test('a primary that has lost its role with a write unfinished says so, and its client asks the new one', async t => {
  const { cluster, client } = await prepared()
  cluster.world.network.cut('sds-1', 'sds-2')
  const write = client.write(0, 0, bytes('r'))
  await cluster.clock.runFor(20)
  cluster.mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: null })
  t.equal((await cluster.clock.finish(write)).status, errorTable.STALE_EPOCH.wire)
  cluster.world.network.heal()
  await cluster.end()
})

t.test('a read is not answered below TypeScript longer than the lease of the other copy is held', async t => {
  const { cluster, client } = await prepared()
  cluster.world.network.cut('sds-1', 'sds-2')
  await cluster.clock.runFor(1_900)
  const read = client.request(opcodes.read, 0, { offset: 0, length: blockBytes })
  await cluster.clock.runFor(400)
  t.equal(client.unanswered, 1)
  cluster.world.network.heal()
  t.equal((await cluster.clock.finish(read)).status, 0)
  await cluster.end()
})

/** The body of a flush: the slice and its epoch. */
function flushed(cluster: Cluster): Buffer[] {
  const body = Buffer.alloc(8)
  body.writeUInt32BE(slice, 0)
  body.writeUInt32BE(cluster.record(slice).epoch, 4)
  return [body]
}
