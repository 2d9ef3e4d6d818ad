import t from 'tap'
import { type ErrorCode, errorTable } from '../../../src/base/errors.js'
import { numberOfId } from '../../../src/base/ids.js'
import { KiB } from '../../../src/base/units.js'
import { type DataFrame, type DataHello, makeFrame, opcodes } from '../../../src/wire/data.js'
import { Cluster, deviceIdOf, poolId, sdcId, sdsIdOf, TestClient } from './cluster.js'

const status = (code: ErrorCode) => errorTable[code].wire

t.test('hello: refused for what the map does not know, or knows as older', async t => {
  const cluster = await Cluster.start()
  cluster.mdm.commit([
    { kind: 'put', table: 'sdcs', value: { id: sdcId, name: 'sdc-1', guid: 'g', incarnation: 5, processId: 'p5' } },
  ])
  await cluster.settled()
  const greet = (options: Partial<DataHello>) => cluster.clock.finish(new TestClient(cluster, 1, options).greet())
  t.equal(await greet({ incarnation: 4 }), status('NO_SESSION'))
  t.equal(await greet({ incarnation: 6 }), status('NOT_READY'), 'the map that names it is on its way')
  t.equal(await greet({ client: 999 }), status('NO_SESSION'))
  t.equal(await greet({ systemId: 'ffffffff00000000' }), status('WRONG_SYSTEM'))
  t.equal(await greet({ deviceId: deviceIdOf(2) }), status('NOT_FOUND'))
  t.equal(await greet({ deviceId: 'x' }), status('PROTOCOL'))
  t.equal(await greet({ incarnation: 5, counter: 7_000 }), 0)
  t.equal(await greet({ incarnation: 5, counter: 7_000 }), status('NO_SESSION'), 'a counter serves once')
  t.equal(await greet({ incarnation: 5, counter: 6_999 }), status('NO_SESSION'))
  t.equal(await greet({ incarnation: 5, counter: 7_001 }), 0)
  await cluster.end()
})

t.test('hello: who does not say it within 10 s is closed, and so is who says something else', async t => {
  const cluster = await Cluster.start()
  const silent = new TestClient(cluster, 1, {})
  const rude = new TestClient(cluster, 1, {})
  const reply = await cluster.clock.finish(rude.send(makeFrame({ opcode: opcodes.ping })))
  t.equal(reply.status, status('PROTOCOL'))
  await cluster.until(() => rude.closedBecause !== null)
  t.equal(silent.closedBecause, null)
  await cluster.until(() => silent.closedBecause !== null, 11_000)
  await cluster.end()
})

t.test('sessions: a new one ends the older; what the older had not got applied never is', async t => {
  const cluster = await Cluster.start()
  const older = await cluster.client(1)
  older.epoch = 2
  let answered = false
  older.write(0, 0, Buffer.alloc(512, 'o')).then(() => {
    answered = true
  })
  await cluster.clock.runFor(50)
  const newer = await cluster.client(1)
  await cluster.until(() => older.closedBecause !== null)
  cluster.mdm.change(poolId, [1], {})
  await cluster.settled()
  await cluster.clock.runFor(1_000)
  t.notOk(answered)
  t.equal((await newer.read(0, 0, 1))[0], 0)
  await cluster.end()
})

t.test('sessions: frames of an older one that are still in the network are never applied', async t => {
  const cluster = await Cluster.start()
  const older = await cluster.client(1)
  cluster.world.network.cut('sdc-1', 'sds-1')
  older.write(0, 0, Buffer.alloc(512, 'o'))
  await cluster.clock.runFor(10)
  const newer = new TestClient(cluster, 1, {})
  const greeting = newer.greet()
  cluster.world.network.heal()
  t.equal(await cluster.clock.finish(greeting), 0)
  const write = await cluster.clock.finish(newer.write(0, 0, Buffer.alloc(512, 'n')))
  t.equal(write.status, 0)
  await cluster.clock.runFor(1_000)
  t.equal((await newer.read(0, 0, 1))[0], 'n'.charCodeAt(0))
  await cluster.end()
})

t.test('sessions: what an older one has under way keeps its place, ahead of the newer', async t => {
  const cluster = await Cluster.start()
  const older = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  older.write(0, 0, Buffer.alloc(512, 'o'))
  await cluster.clock.runFor(50)
  const newer = await cluster.client(1)
  const write = newer.write(0, 0, Buffer.alloc(512, 'n'))
  await cluster.clock.runFor(50)
  cluster.world.network.heal()
  t.equal((await cluster.clock.finish(write)).status, 0)
  t.equal((await newer.read(0, 0, 1))[0], 'n'.charCodeAt(0))
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('sessions: changes between copies are taken from the SDS of the primary only', async t => {
  const cluster = await Cluster.start({ sdss: 3 })
  const intruder = await cluster.client(2, { kind: 'sds', client: numberOfId(sdsIdOf(3)) })
  const reply = await cluster.clock.finish(
    intruder.request(opcodes.copyWrite, 0, { length: 512, body: [Buffer.alloc(512, 'i')] }),
  )
  t.equal(reply.status, status('BAD_REQUEST'))
  const primary = await cluster.client(2, { kind: 'sds', client: numberOfId(sdsIdOf(1)), counter: 1 << 20 })
  for (const [opcode, fields] of [
    [opcodes.copyTrim, { offset: 512, length: 512 }],
    [opcodes.resyncBegin, {}],
    [opcodes.write, { length: 512, body: [Buffer.alloc(512)] }],
  ] as [number, Partial<DataFrame>][])
    t.equal((await cluster.clock.finish(primary.request(opcode, 0, fields))).status, status('BAD_REQUEST'))
  primary.close()
  await cluster.end()
})

t.test('sessions: more requests than the bound are not read until earlier ones are answered', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  cluster.world.network.cut('sds-1', 'sds-2')
  const answers = Array.from({ length: 1_500 }, (_, i) => client.write(i % 16, 0, Buffer.alloc(4 * KiB, i)))
  await cluster.clock.runFor(500)
  t.ok(cluster.metric(1, 'device_requests') <= 1_024)
  cluster.world.network.heal()
  for (const answer of answers) t.equal((await cluster.clock.finish(answer)).status, 0)
  t.same(await cluster.differences(), [])
  await cluster.end()
})

t.test('peers: connections that are cut in the middle of writes cost nothing but time', async t => {
  const cluster = await Cluster.start()
  const client = await cluster.client(1)
  const answers: Promise<{ status: number }>[] = []
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 20; i++) answers.push(client.write((round + i) % 16, 0, Buffer.alloc(4 * KiB, round)))
    await cluster.clock.runFor(0.7)
    cluster.world.network.drop('sds-1', 'sds-2')
  }
  for (const answer of answers) t.equal((await cluster.clock.finish(answer)).status, 0)
  t.ok(cluster.metric(1, 'peer_reconnects_total') > 0)
  t.same(await cluster.differences(), [])
  await cluster.end()
})
