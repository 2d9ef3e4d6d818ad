import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { blockBytes } from '../../../src/base/units.js'
import { Cluster, deviceIdOf, poolId, sdsIdOf, sliceCount } from './cluster.js'

const bytes = (letter: string) => Buffer.alloc(blockBytes, letter)
const slices = Array.from({ length: sliceCount }, (_, slice) => slice)

t.test('a clean stop: what the SDS leads is handed over before it stops listening to clients', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('a'))
  const successor = await cluster.client(2)
  const asked: string[] = []
  let answer = () => {}
  const answered = new Promise<void>(resolve => {
    answer = resolve
  })
  cluster.mdm.onHandOver = async sdsId => {
    asked.push(sdsId)
    await cluster.mdm.ask(sdsId, 'drainSlices', {
      poolId,
      slices: slices.map(slice => ({ slice, epoch: cluster.record(slice).epoch })),
      forMs: 4_000,
    })
    cluster.mdm.change(poolId, slices, { primary: deviceIdOf(2), secondary: deviceIdOf(1) })
    await answered
  }
  let isStopped = false
  const stopped = cluster.daemons
    .get(1)!
    .stop()
    .then(() => {
      isStopped = true
    })
  await cluster.until(() => cluster.record(1).primary === deviceIdOf(2))
  client.epoch = 1
  // From an SDC that does not know: refused with the new record, by a primary that still answers.
  const { status } = await cluster.clock.finish(client.write(0, 0, bytes('b')))
  t.equal(status, errorTable.STALE_EPOCH.wire)
  t.equal((await cluster.clock.finish(successor.write(0, 0, bytes('b')))).status, 0)
  t.notOk(isStopped, 'served by the new primary while the old one still runs')
  t.same(asked, [sdsIdOf(1)])
  answer()
  await cluster.clock.finish(stopped)
  cluster.crash(1)
  await cluster.boot(1)
  await cluster.until(() => cluster.isServing(1) && cluster.isInSync)
  t.equal((await successor.read(0, 0, 1))[0], 'b'.charCodeAt(0))
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('a clean stop: an MDM that does not answer, or is away, keeps nobody from stopping', async t => {
  const cluster = await Cluster.start()
  cluster.mdm.onHandOver = () => new Promise(() => {})
  const fromMs = cluster.clock.nowMs()
  await cluster.stop(1)
  t.ok(cluster.clock.nowMs() - fromMs < 7_000)
  await cluster.boot(1)
  await cluster.until(() => cluster.isServing(1))
  cluster.world.network.crash('mdm')
  await cluster.clock.runFor(10)
  const aloneMs = cluster.clock.nowMs()
  await cluster.stop(1)
  t.ok(cluster.clock.nowMs() - aloneMs < 2_000)
})

t.test('a clean stop: who leads nothing that another copy could take asks nobody', async t => {
  const cluster = await Cluster.start()
  let asked = 0
  cluster.mdm.onHandOver = async () => {
    asked++
  }
  await cluster.stop(2)
  cluster.mdm.change(poolId, slices, { secondary: null, left: deviceIdOf(2) })
  await cluster.settled()
  await cluster.stop(1)
  t.equal(asked, 0)
})
