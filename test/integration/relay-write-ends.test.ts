import t from 'tap'
import { relay } from '../../src/io/relay.js'
import { request, settle } from '../unit/sdc/nbd/raw-client.js'
import { disconnect, KiB, MiB, type Scene, until, writeScene } from './relay-scene.js'

/** Writes until an SDS that does not read has more before it than the operating system takes. */
async function stuff(scene: Scene): Promise<void> {
  scene.sds.pause()
  const { backend } = scene
  for (let count = 1; scene.toSds.queuedBytes < MiB; count++) {
    scene.put((count % 8) * 128 * KiB, 128 * KiB)
    await until(() => backend.writes.underWay === count || backend.written.length > 0)
    if (backend.written.length > 0) throw new Error('the system takes all that may be under way')
    await settle(1)
  }
}

t.test('what is taken back before it has left still leaves as it was, whatever comes meanwhile', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  const other = await writeScene(t)
  await scene.open(0)
  await stuff(scene)
  const all = backend.writes.underWay
  relay.takeBackAll()
  while (scene.waiting.size > 0) await scene.next()
  t.equal(backend.written.length, all)
  t.ok(backend.isWhole)
  // It would be in the same memory.
  await other.work(600)
  t.ok(scene.toSds.queuedBytes > 0)
  scene.sds.resume()
  await until(() => scene.asked.length === all)
  // It compares.
  scene.reply()
  await scene.caughtUp()
  t.equal(scene.toSds.queuedBytes, 0)
  await scene.work(600)
  t.same([backend.written.length, backend.writes.underWay], [all, 0])
})

t.test('when the connection to the SDS ends, its writes come to the backend whole', async t => {
  for (const end of [({ toSds }: Scene) => toSds.close(true), ({ sds }: Scene) => sds.close(true)]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    for (let i = 0; i < 20; i++) scene.put(i * 8192, 8192)
    await until(() => scene.asked.length === 20)
    scene.reply(scene.asked.splice(5, 3))
    await until(() => backend.writes.ios === 3)
    const { bytes } = scene.writeOf(512, 70_144)
    scene.client.send(bytes.subarray(0, 5_000))
    await until(() => backend.writes.underWay === 18)
    backend.connection = null
    end(scene)
    await until(() => backend.written.length === 17)
    t.equal(backend.writes.underWay, 1)
    scene.client.send(bytes.subarray(5_000))
    while (scene.waiting.size > 0) await scene.next()
    await scene.hearNoMore()
    t.equal(backend.written.length, 18)
    t.ok(backend.isWhole)
    t.match(backend.writes, { ios: 3, returned: 18, underWay: 0 })
  }
})

t.test('when the connection to the SDS ends before it has taken them, writes come to the backend whole', async t => {
  for (const end of [({ toSds }: Scene) => toSds.close(true), ({ sds }: Scene) => sds.close(true)]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    await stuff(scene)
    const all = backend.writes.underWay
    backend.connection = null
    end(scene)
    while (scene.waiting.size > 0) await scene.next()
    await scene.hearNoMore()
    t.equal(backend.written.length, all)
    t.ok(backend.isWhole)
    t.match(backend.writes, { ios: 0, returned: all, underWay: 0 })
  }
  // Their memory is free again: it would not be enough otherwise.
  const scene = await writeScene(t)
  await scene.open(0)
  for (let i = 0; i < 60; i++) scene.put((i % 8) * 128 * KiB, 128 * KiB)
  await until(() => scene.backend.writes.underWay === 60)
  await scene.finish()
  t.equal(scene.backend.written.length, 0)
})

t.test('a client that goes away in the middle of a write leaves nothing behind, and others go on', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  for (let i = 0; i < 10; i++) scene.put(i * 8192, 8192)
  scene.client.send(scene.writeOf(512, 70_144).bytes.subarray(0, 30_000))
  await until(() => scene.asked.length === 10 && backend.writes.underWay === 11)
  scene.reply(scene.asked.splice(0, 2))
  await until(() => backend.writes.underWay === 9)
  scene.client.hangUp()
  await scene.served.closed
  t.match(backend.writes, { ios: 2, underWay: 0 })
  t.equal(scene.served.requestsInFlight, 0)
  await scene.join()
  // What is answered to him is not taken for an answer to the one who comes.
  await scene.open(0)
  for (let i = 0; i < 10; i++) scene.put(i * 8192, 8192)
  await until(() => scene.asked.length === 18)
  scene.reply(scene.asked.splice(0, 8))
  await scene.caughtUp()
  t.equal(scene.waiting.size, 10)
  await scene.finish()
  await scene.work(1200)
  t.ok(backend.isWhole)
  t.equal(backend.writes.underWay, 0)
})

t.test('the memory of writes that never come in is there for others', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  // More than there is.
  for (let i = 0; i < 70; i++) {
    await scene.join()
    scene.put(0, 512)
    await scene.next()
    scene.client.send(scene.writeOf(0, 128 * KiB).bytes.subarray(0, 1_000))
    await until(() => backend.writes.underWay === 1)
    scene.client.hangUp()
    await scene.served.closed
    t.equal(backend.writes.underWay, 0)
  }
  await scene.join()
  const before = backend.written.length
  await scene.open(0)
  for (let i = 0; i < 60; i++) scene.put((i % 8) * 128 * KiB, 128 * KiB)
  await until(() => backend.writes.underWay === 60)
  await scene.finish()
  t.equal(backend.written.length, before)
})

t.test('a client that goes away with its writes before an SDS that does not read leaves nothing behind', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  await stuff(scene)
  const all = backend.writes.underWay
  scene.client.hangUp()
  await scene.served.closed
  t.equal(backend.writes.underWay, 0)
  scene.sds.resume()
  await until(() => scene.asked.length === all)
  scene.reply()
  await scene.caughtUp()
  await scene.join()
  await scene.work(600)
  t.ok(backend.isWhole)
})

const farewells: [string, (scene: Scene) => void][] = [
  ['says goodbye', ({ client }) => client.send(request({ type: disconnect, length: 0 }))],
  ['sends no more', ({ client }) => client.end()],
  ['is told to go', ({ served }) => void served.close()],
]
for (const [how, leave] of farewells)
  t.test(`a client that ${how} is answered all of its writes before`, async t => {
    for (const answered of [0, 7, 20]) {
      const scene = await writeScene(t)
      const { backend } = scene
      await scene.open(0)
      for (let i = 0; i < 20; i++) scene.put(i * 12_288, 12_288)
      await until(() => scene.asked.length === 20)
      scene.reply(scene.asked.splice(0, answered))
      await until(() => backend.writes.ios === answered)
      leave(scene)
      while (scene.waiting.size > 0) await scene.next()
      t.equal((await scene.client.rest()).length, 0)
      scene.client.end()
      await scene.served.closed
      t.equal(scene.served.requestsInFlight, 0)
      t.equal(backend.written.length, 20 - answered)
      t.ok(backend.isWhole)
      t.match(backend.writes, { ios: answered, underWay: 0 })
      scene.reply()
      await scene.caughtUp()
    }
  })

t.test('a client may say goodbye right behind its last writes', async t => {
  for (const last of [request({ type: disconnect, length: 0 }), null]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    const writes = Array.from({ length: 20 }, (_, i) => scene.writeOf(i * 12_288, 12_288).bytes)
    scene.client.send(...writes, ...(last === null ? [] : [last]))
    if (last === null) scene.client.end()
    while (scene.waiting.size > 0) {
      scene.reply()
      await scene.next()
    }
    t.equal((await scene.client.rest()).length, 0)
    scene.client.end()
    await scene.served.closed
    t.ok(backend.isWhole)
    t.equal(backend.written.length + backend.writes.ios, 20)
    t.equal(backend.writes.underWay, 0)
  }
})

t.test('a write whose end does not come is none, and those before it are answered', async t => {
  for (const leave of [({ client }: Scene) => client.end(), ({ served }: Scene) => void served.close()]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    for (let i = 0; i < 5; i++) scene.put(i * 12_288, 12_288)
    const { cookie, bytes } = scene.writeOf(0, 70_144)
    scene.waiting.delete(cookie)
    scene.client.send(bytes.subarray(0, 40_000))
    await until(() => scene.asked.length === 5 && backend.writes.underWay === 6)
    leave(scene)
    while (scene.waiting.size > 0) await scene.next()
    t.equal((await scene.client.rest()).length, 0)
    scene.client.end()
    await scene.served.closed
    t.equal(backend.written.length, 5)
    t.ok(backend.isWhole)
    t.match(backend.writes, { ios: 0, underWay: 0 })
  }
})

t.test('a client whose writes come back is not read while more is in flight than may be', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  backend.holding = true
  for (let i = 0; i < 400; i++) scene.put(i * 512, 512)
  await until(() => scene.asked.length === 192 && backend.held.length === 208)
  relay.takeBackOlder(0)
  await until(() => backend.held.length === 400)
  scene.reply(scene.asked.splice(0, 20))
  await scene.caughtUp()
  for (let i = 0; i < 100; i++) scene.put(i * 512, 512)
  await scene.caughtUp()
  t.same([backend.held.length, scene.asked.length], [400, 172], 'nothing of it has been taken')
  backend.release()
  await scene.finish()
  t.equal(scene.served.requestsInFlight, 0)
  t.ok(backend.isWhole)
})
