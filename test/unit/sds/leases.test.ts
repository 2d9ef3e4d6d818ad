import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import type { SdsId } from '../../../src/base/ids.js'
import { blockBytes } from '../../../src/base/units.js'
import type { Endpoint } from '../../../src/model/index.js'
import { opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, poolId, sdsIdOf, sliceCount, type TestClient } from './cluster.js'
import { idOf, mdmAt } from './fake-mdm.js'

const bytes = (letter: string) => Buffer.alloc(blockBytes, letter)
const place = { offset: 0, length: blockBytes }
const slice = 1
const promoted = { primary: deviceIdOf(2), secondary: null, left: deviceIdOf(1) }

/** An application that reads one block at the former primary again and again, whatever the map says. */
class Reader {
  readonly seen: { askedMs: number; answeredMs: number; letter: string }[] = []
  #isStopped = false

  constructor(
    readonly cluster: Cluster,
    readonly client: TestClient,
    readonly epoch: number,
  ) {
    void this.#read()
  }

  stop(): void {
    this.#isStopped = true
  }

  /** What was asked after `sinceMs` and answered with `letter`. */
  sawSince(sinceMs: number, letter: string): number {
    return this.seen.filter(read => read.askedMs >= sinceMs && read.letter === letter).length
  }

  async #read(): Promise<void> {
    const { clock } = this.cluster
    while (!this.#isStopped) {
      const askedMs = clock.nowMs()
      const reply = await this.client.request(opcodes.read, 0, { ...place, epoch: this.epoch })
      const letter = reply.status === 0 ? Buffer.concat(reply.body).toString('latin1', 0, 1) : `status ${reply.status}`
      this.seen.push({ askedMs, answeredMs: clock.nowMs(), letter })
      await new Promise<void>(resolve => clock.setTimer(3, resolve))
    }
  }
}

/** Writes at SDS 2 until it takes it, and says when that was. */
async function writeAtNew(cluster: Cluster, letter: string): Promise<number> {
  const client = await cluster.client(2)
  for (;;) {
    const reply = await cluster.clock.finish(client.write(0, 0, bytes(letter)))
    if (reply.status === 0) return cluster.clock.nowMs()
    if (!errorTable.NOT_READY.retry || reply.status !== errorTable.NOT_READY.wire)
      throw new Error(`write was refused with status ${reply.status}`)
  }
}

const onlyNew = (sdsId: SdsId) => sdsId === sdsIdOf(2)

async function prepared(seed = 1): Promise<{ cluster: Cluster; reader: Reader }> {
  const cluster = await Cluster.start({ seed })
  await cluster.clock.runFor(1_500)
  const client = await cluster.client(1)
  await client.mustWrite(0, 0, bytes('o'))
  const reader = new Reader(cluster, client, cluster.record(slice).epoch)
  await cluster.until(() => reader.seen.length > 5)
  return { cluster, reader }
}

t.test('read: shown only while every other copy has promised not to take over', async t => {
  const { cluster, reader } = await prepared()
  const cutMs = cluster.clock.nowMs()
  cluster.world.network.cut('sds-1', 'sds-2')
  await cluster.clock.runFor(5_000)
  const latestMs = Math.max(...reader.seen.map(read => read.answeredMs))
  t.ok(latestMs > cutMs + 500, 'as long as the lease holds')
  t.ok(latestMs <= cutMs + 1_000, 'and not longer')
  const before = reader.seen.length
  cluster.world.network.heal()
  await cluster.until(() => reader.seen.length > before + 5)
  t.equal(reader.sawSince(0, 'o'), reader.seen.length, 'it goes on with what it held back')
  t.ok(cluster.metric(1, 'lease_waits_total') > 0)
  reader.stop()
  await cluster.end()
})

t.test('read: the promise of another SDS that has the address of the other copy by now is none', async t => {
  const { cluster, reader } = await prepared()
  const movedMs = cluster.clock.nowMs()
  const other = cluster.mdm.map.tables.sdss.get(sdsIdOf(2))!
  const moved = (endpoint: Endpoint) =>
    cluster.mdm.commit([{ kind: 'put', table: 'sdss', value: { ...other, endpoint } }])
  moved(cluster.endpointOf(1))
  await cluster.clock.runFor(5_000)
  t.ok(
    Math.max(...reader.seen.map(read => read.answeredMs)) <= movedMs + 1_000,
    'no longer than the lease that was held',
  )
  const before = reader.seen.length
  moved(other.endpoint)
  await cluster.until(() => reader.seen.length > before + 5)
  reader.stop()
  await cluster.end()
})

t.test('read: a record without the other copy needs no lease', async t => {
  const { cluster, reader } = await prepared()
  reader.stop()
  cluster.crash(2)
  await cluster.clock.runFor(2_000)
  const client = await cluster.client(1)
  const held = client.request(opcodes.read, 0, place)
  await cluster.clock.runFor(1_000)
  t.equal(client.unanswered, 1)
  cluster.mdm.change(poolId, [slice], { secondary: null, left: deviceIdOf(2) })
  t.equal((await cluster.clock.finish(held)).status, errorTable.STALE_EPOCH.wire)
  t.equal((await client.read(0, 0, 1))[0], 'o'.charCodeAt(0))
  await cluster.end()
})

for (const [what, away] of [
  ['cut off', (cluster: Cluster) => cluster.world.network.cut('sds-1', 'sds-2')],
  ['not heard by the other', (cluster: Cluster) => cluster.world.network.mute('sds-1', 'sds-2')],
  ['deaf to the other', (cluster: Cluster) => cluster.world.network.mute('sds-2', 'sds-1')],
  ['stalled for a moment', (cluster: Cluster) => cluster.ports.get(1)!.clock.stall(700)],
  ['stalled for long', (cluster: Cluster) => cluster.ports.get(1)!.clock.stall(4_000)],
] as const)
  for (const delayMs of [0, 90, 170, 240, 600, 1_200])
    t.test(`promotion ${delayMs} ms after the primary was ${what}: no read at it is stale`, async t => {
      const { cluster, reader } = await prepared(delayMs + 1)
      cluster.world.network.cut('sds-1', 'mdm')
      away(cluster)
      await cluster.clock.runFor(delayMs)
      const promotedMs = cluster.clock.nowMs()
      cluster.mdm.change(poolId, [slice], promoted, onlyNew)
      const writtenMs = await writeAtNew(cluster, 'n')
      t.ok(writtenMs - promotedMs < 1_200, 'the new primary waits for one lease at most')
      await cluster.clock.runFor(6_000)
      t.equal(reader.sawSince(writtenMs, 'o'), 0)
      reader.stop()
      cluster.crash(1)
      cluster.crash(2)
    })

t.test('promotion: the new primary waits out what the process before it had promised', async t => {
  const { cluster, reader } = await prepared()
  await cluster.stop(2)
  await cluster.boot(2)
  await cluster.until(() => cluster.isServing(2))
  const bootedMs = cluster.clock.nowMs()
  cluster.world.network.cut('sds-1', 'sds-2')
  cluster.world.network.cut('sds-1', 'mdm')
  cluster.mdm.change(poolId, [slice], promoted, onlyNew)
  const writtenMs = await writeAtNew(cluster, 'n')
  t.ok(writtenMs - bootedMs > 900)
  await cluster.clock.runFor(3_000)
  t.equal(reader.sawSince(writtenMs, 'o'), 0)
  reader.stop()
  cluster.crash(1)
  cluster.crash(2)
})

t.test('promotion: a former primary that knows of it is not waited for', async t => {
  const { cluster, reader } = await prepared()
  reader.stop()
  const startMs = cluster.clock.nowMs()
  cluster.mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: deviceIdOf(1) })
  const writtenMs = await writeAtNew(cluster, 'n')
  t.ok(writtenMs - startMs < 50)
  await cluster.end()
})

t.test('promotion: a former primary that did not hear of it is told by the new one', async t => {
  const { cluster, reader } = await prepared()
  reader.stop()
  const startMs = cluster.clock.nowMs()
  cluster.mdm.change(poolId, [slice], { primary: deviceIdOf(2), secondary: deviceIdOf(1) }, onlyNew)
  const writtenMs = await writeAtNew(cluster, 'n')
  t.ok(writtenMs - startMs < 300, 'with the next heartbeat')
  t.equal(cluster.metric(1, 'map_version'), cluster.mdm.map.version)
  await cluster.end()
})

t.test(
  'promotion: a former primary that was killed and registered again within the lease is not waited for',
  async t => {
    const { cluster, reader } = await prepared()
    reader.stop()
    cluster.crash(1)
    await cluster.boot(1)
    await cluster.until(() => cluster.record(slice).primary === deviceIdOf(2))
    const startMs = cluster.clock.nowMs()
    const writtenMs = await writeAtNew(cluster, 'n')
    t.ok(writtenMs - startMs < 100)
    await cluster.end()
  },
)

t.test('promotion: nothing is filled or reported before it is waited out', async t => {
  const { cluster, reader } = await prepared()
  reader.stop()
  const { network } = cluster.world
  network.cut('sds-1', 'sds-2')
  network.cut('sds-1', 'mdm')
  cluster.mdm.change(poolId, [slice], promoted, onlyNew)
  await cluster.clock.runFor(300)
  t.ok(cluster.metric(2, 'promotion_waits') > 0)
  const client = await cluster.client(2)
  const read = client.request(opcodes.read, 0, place)
  const allocation = client.request(opcodes.allocation, 0, { length: 8 })
  const reply = await cluster.clock.finish(allocation)
  t.equal(Buffer.concat(reply.body)[0]! & 1, 0, 'nobody says yet what is a hole')
  await cluster.clock.runFor(300)
  t.equal(client.unanswered, 1)
  t.equal((await cluster.clock.finish(read)).status, 0, 'what waited is served then')
  t.equal(cluster.metric(2, 'promotion_waits'), 0)
  cluster.crash(1)
  cluster.crash(2)
})

t.test('alive: an SDS tells who does not answer it, and who is gone', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  await cluster.clock.runFor(1_500)
  const last = (n: number) => cluster.mdm.alive.get(sdsIdOf(n))!.at(-1)!
  t.same(last(1).unreachable, [])
  t.same(last(3).unreachable, [], 'who shares no slice asks nobody')
  cluster.world.network.cut('sds-1', 'sds-2')
  await cluster.clock.runFor(1_300)
  for (const [n, other] of [
    [1, 2],
    [2, 1],
  ] as const) {
    t.match(last(n).unreachable, [{ sdsId: sdsIdOf(other), refused: false }])
    t.ok(last(n).unreachable[0]!.forMs >= 1_000 - 250 && last(n).unreachable[0]!.forMs <= 1_300)
  }
  cluster.world.network.heal()
  await cluster.clock.runFor(600)
  t.same(last(1).unreachable, [])
  cluster.crash(2)
  await cluster.clock.runFor(300)
  t.match(last(1).unreachable, [{ sdsId: sdsIdOf(2), refused: true }])
  await cluster.boot(2)
  await cluster.clock.runFor(600)
  t.same(last(1).unreachable, [])
  await cluster.end()
})

t.test('alive: a process that was stalled renews its leases before it accuses', async t => {
  const cluster = await Cluster.start()
  await cluster.clock.runFor(1_500)
  for (const stallMs of [800, 1_500, 5_000]) {
    cluster.mdm.alive.clear()
    cluster.ports.get(1)!.clock.stall(stallMs)
    await cluster.clock.runFor(stallMs + 1_000)
    const accused = cluster.mdm.alive.get(sdsIdOf(1))!.flatMap(({ unreachable }) => unreachable)
    t.same(
      accused.filter(({ forMs, refused }) => refused || forMs > 300),
      [],
    )
    t.ok(cluster.mdm.alive.get(sdsIdOf(1))!.length > 2)
  }
  await cluster.end()
})

t.test('lease: I/O goes on while the MDM is away', async t => {
  const { cluster, reader } = await prepared()
  cluster.world.network.refuse(mdmAt)
  cluster.world.network.drop('mdm')
  const fromMs = cluster.clock.nowMs() + 5_000
  await cluster.clock.runFor(8_000)
  t.ok(reader.sawSince(fromMs, 'o') > 100)
  reader.stop()
  cluster.world.network.accept(mdmAt)
  await cluster.clock.runFor(3_000)
  await cluster.end()
})

t.test('lease: what an SDS holds under an old id is not held under the new one', async t => {
  const { cluster, reader } = await prepared()
  const { mdm, clock, world } = cluster
  const sds = mdm.map.tables.sdss.get(sdsIdOf(1))!
  const device = mdm.map.tables.devices.get(deviceIdOf(1))!
  const id = idOf<'sds'>(77)
  // Removed and added again, with what it has, while nobody gives it another lease.
  world.network.cut('sds-1', 'sds-2')
  const cutMs = clock.nowMs()
  mdm.commit([
    { kind: 'drop', table: 'sdss', id: sds.id },
    { kind: 'put', table: 'sdss', value: { ...sds, id } },
    { kind: 'put', table: 'devices', value: { ...device, sdsId: id } },
  ])
  world.network.drop('sds-1', 'mdm')
  await cluster.until(() => mdm.acks.get(id) === mdm.map.version)
  const servingMs = clock.nowMs()
  t.ok(servingMs - cutMs < 500, 'the old lease would last for a while')
  await clock.runFor(700)
  t.equal(reader.sawSince(servingMs, 'o'), 0)
  world.network.heal()
  await cluster.until(() => reader.sawSince(servingMs, 'o') > 0)
  reader.stop()
  await cluster.end()
})

t.test('lease: an SDS that learns with an answer that they share nothing any more does not ask again', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  await cluster.clock.runFor(1_500)
  const all = Array.from({ length: sliceCount }, (_, slice) => slice)
  cluster.mdm.change(poolId, all, { primary: deviceIdOf(2), secondary: deviceIdOf(3) }, onlyNew)
  const { version } = cluster.mdm.map
  await cluster.until(() => cluster.metric(1, 'map_version') === version)
  // SDS 3 heard nothing of it: the next push brings it all.
  cluster.mdm.change(poolId, all, { secondary: null })
  await cluster.clock.runFor(1_500)
  cluster.mdm.change(poolId, all, { joining: deviceIdOf(1) })
  await cluster.clock.runFor(1_500)
  const { connectionsBegun } = cluster.world.network
  await cluster.clock.runFor(5_000)
  t.equal(cluster.world.network.connectionsBegun, connectionsBegun, 'there is one connection, and it stays')
  await cluster.end()
})
