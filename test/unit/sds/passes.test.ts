import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { blockBytes, chunkBytes } from '../../../src/base/units.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, mappingId, poolId, sdsIdOf } from './cluster.js'

const bytes = (letter: string) => Buffer.alloc(blockBytes, letter)
const place = { offset: 0, length: blockBytes }
const slice = 1

/** A cluster with a chunk that has been written and read, so that there is a pass. */
async function prepared() {
  const cluster = await Cluster.start()
  await cluster.clock.runFor(1_500)
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  await client.read(0, 0, blockBytes)
  const byPass = () => cluster.metric(1, 'reads_by_pass_total')
  return { cluster, client, byPass }
}

t.test('a chunk that has been read is read by a pass until it is changed', async t => {
  const { cluster, client, byPass } = await prepared()
  t.equal(byPass(), 0)
  t.equal((await client.read(0, 0, blockBytes)).toString('latin1', 0, 1), 'o')
  t.equal(byPass(), 1)
  t.equal(cluster.metric(1, 'reads_total'), 2, 'all reads are counted together')
  const written = client.write(0, 0, bytes('n'))
  const readBehindIt = client.request(opcodes.read, 0, place)
  t.equal(Buffer.concat((await cluster.clock.finish(readBehindIt)).body).toString('latin1', 0, 1), 'n')
  t.equal((await cluster.clock.finish(written)).status, 0)
  t.equal(byPass(), 1)
  t.equal((await client.read(0, 0, blockBytes)).toString('latin1', 0, 1), 'n')
  t.equal(byPass(), 2)
  await cluster.clock.finish(client.request(opcodes.trim, 0, { offset: 0, length: chunkBytes }))
  t.ok((await client.read(0, 0, blockBytes)).equals(Buffer.alloc(blockBytes)))
  t.ok((await client.read(0, 0, blockBytes)).equals(Buffer.alloc(blockBytes)))
  t.equal(byPass(), 2, 'what has no slot is on no disk')
  await cluster.end()
})

t.test('a read whose write is unfinished is not answered by a pass', async t => {
  const { cluster, client, byPass } = await prepared()
  cluster.world.network.cut('sds-1', 'sds-2')
  const write = client.write(0, 0, bytes('n'))
  await cluster.clock.runFor(20)
  const reads = [0, blockBytes].map(offset => client.request(opcodes.read, 0, { ...place, offset }))
  await cluster.clock.finish(reads[1]!)
  const again = client.request(opcodes.read, 0, { ...place, offset: blockBytes })
  await cluster.clock.finish(again)
  t.equal(byPass(), 0, 'beside it there is no pass either')
  cluster.world.network.heal()
  await cluster.clock.finish(write)
  t.equal(Buffer.concat((await cluster.clock.finish(reads[0]!)).body).toString('latin1', 0, 1), 'n')
  await cluster.end()
})

t.test('a pass ends with the mapping, the epoch, the role and the lease', async t => {
  const { cluster, client, byPass } = await prepared()
  const { mdm } = cluster
  const { epoch } = cluster.record(slice)
  mdm.change(poolId, [slice], {})
  await cluster.settled()
  const stale = client.request(opcodes.read, 0, { ...place, epoch })
  t.equal((await cluster.clock.finish(stale)).status, errorTable.STALE_EPOCH.wire)
  await client.read(0, 0, blockBytes)
  await client.read(0, 0, blockBytes)
  t.equal(byPass(), 1)
  // Without the other copy nobody knows for long that it has not been promoted.
  cluster.world.network.cut('sds-1', 'sds-2')
  await cluster.clock.runFor(2_000)
  const held = client.request(opcodes.read, 0, place)
  await cluster.clock.runFor(500)
  t.equal(client.unanswered, 1)
  cluster.world.network.heal()
  t.equal((await cluster.clock.finish(held)).status, 0)
  await client.read(0, 0, blockBytes)
  t.equal(byPass(), 2)
  mdm.commit([{ kind: 'drop', table: 'mappings', id: mappingId }])
  await cluster.settled()
  t.equal((await cluster.clock.finish(client.request(opcodes.read, 0, place))).status, errorTable.NOT_MAPPED.wire)
  mdm.commit([{ kind: 'put', table: 'mappings', value: cluster.mapping() }])
  mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: deviceIdOf(1) })
  await cluster.settled()
  t.equal((await cluster.clock.finish(client.request(opcodes.read, 0, place))).status, errorTable.BAD_REQUEST.wire)
  t.equal(byPass(), 2)
  await cluster.end()
})

t.test('nothing is read by a pass while roles are about to be swapped', async t => {
  const { cluster, client, byPass } = await prepared()
  const { epoch } = cluster.record(slice)
  const drained = cluster.mdm.ask(sdsIdOf(1), 'drainSlices', { poolId, slices: [{ slice, epoch }], forMs: 400 })
  t.same(await cluster.clock.finish(drained), { slices: [slice] })
  const read = client.request(opcodes.read, 0, place)
  await cluster.clock.runFor(300)
  t.equal(client.unanswered, 1)
  t.equal((await cluster.clock.finish(read)).status, 0, 'it goes on when nobody came to swap')
  t.equal(byPass(), 0)
  await client.read(0, 0, blockBytes)
  t.equal(byPass(), 1)
  await cluster.end()
})
