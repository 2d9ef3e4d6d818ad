import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { blockBytes } from '../../../src/base/units.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, poolId, sdsIdOf } from './cluster.js'

const bytes = (letter: string) => Buffer.alloc(blockBytes, letter)
/** Slice of chunk 0, and another one. */
const slice = 1

const drain = (cluster: Cluster, slices: { slice: number; epoch: number }[], forMs = 2_000) =>
  cluster.mdm.ask(sdsIdOf(1), 'drainSlices', { poolId, slices, forMs }) as Promise<{ slices: number[] }>

t.test('drain: what is under way is finished on all copies, then nothing more is admitted until the swap', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  const early = client.write(0, 0, bytes('a'))
  await cluster.clock.runFor(100)
  let isDrained = false
  const drained = drain(cluster, [{ slice, epoch: 1 }]).then(answer => {
    isDrained = true
    return answer
  })
  await cluster.clock.runFor(300)
  t.notOk(isDrained, 'a write is not on all copies')
  const late = client.write(0, 0, bytes('b'))
  const beside = client.request(opcodes.read, 1, { offset: 0, length: blockBytes })
  cluster.world.network.heal()
  t.equal((await cluster.clock.finish(early)).status, 0)
  t.same(await cluster.clock.finish(drained), { slices: [slice] })
  await cluster.clock.finish(beside)
  await cluster.clock.runFor(200)
  t.equal(client.unanswered, 1, 'what came later waits')
  cluster.mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: deviceIdOf(1) })
  t.equal((await cluster.clock.finish(late)).status, errorTable.STALE_EPOCH.wire, 'and is sent to the new primary')
  const successor = await cluster.client(2)
  t.equal((await successor.read(0, 0, 1))[0], 'a'.charCodeAt(0))
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('a swap that comes too late, with a write on the old primary alone: the MDM hears of it', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  const write = client.write(0, 0, bytes('a'))
  await cluster.clock.runFor(100)
  cluster.mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: deviceIdOf(1) })
  t.equal((await cluster.clock.finish(write)).status, errorTable.STALE_EPOCH.wire)
  const { epoch } = cluster.record(slice)
  const unsound = () => cluster.mdm.status.get(sdsIdOf(1))?.[0]?.unsound
  await cluster.until(() => unsound() !== undefined, 3_000)
  t.same(unsound(), [{ slice, epoch }])
  cluster.mdm.change(poolId, [slice], { secondary: null, left: deviceIdOf(1) })
  await cluster.until(() => unsound() === undefined, 3_000)
  cluster.world.network.heal()
  await cluster.end()
})

t.test('drain: void after its time, and what waited is admitted', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  t.same(await cluster.clock.finish(drain(cluster, [{ slice, epoch: 1 }], 500)), { slices: [slice] })
  const write = client.write(0, 0, bytes('w'))
  await cluster.clock.runFor(300)
  t.equal(client.unanswered, 1)
  t.equal((await cluster.clock.finish(write)).status, 0)
  t.same(await cluster.clock.finish(drain(cluster, [{ slice, epoch: 1 }], 500)), { slices: [slice] })
  await cluster.end()
})

t.test('drain: slices that do not finish in half the time, or are not ours in that epoch, are not drained', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  const stuck = client.write(0, 0, bytes('s'))
  await cluster.clock.runFor(50)
  const startMs = cluster.clock.nowMs()
  const asked = [slice, 2, 3].map(slice => ({ slice, epoch: slice === 3 ? 7 : 1 }))
  t.same(await cluster.clock.finish(drain(cluster, asked, 1_000)), { slices: [2] })
  t.ok(cluster.clock.nowMs() - startMs < 600)
  const other = cluster.mdm.ask(sdsIdOf(2), 'drainSlices', { poolId, slices: asked, forMs: 100 })
  t.same(await cluster.clock.finish(other), { slices: [] }, 'a secondary drains nothing')
  const next = client.request(opcodes.read, 4, { offset: 0, length: blockBytes })
  cluster.world.network.heal()
  t.equal((await cluster.clock.finish(stuck)).status, 0)
  t.equal((await cluster.clock.finish(next)).status, 0, 'it goes on at once')
  await cluster.end()
})
