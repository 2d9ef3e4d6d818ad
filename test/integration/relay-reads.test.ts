import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { relay } from '../../src/io/relay.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { ManualClock, request } from '../unit/sdc/nbd/raw-client.js'
import { blockBytes, bytesAt, disconnect, MiB, place, Scene, until, writeCommand } from './relay-scene.js'

for (const structured of [false, true])
  t.test(
    `reads behind the first one go to the SDS and back, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await Scene.make(t, structured)
      await scene.open(MiB)
      t.equal(scene.ownReads, 1)
      const places = [
        [MiB, 4096],
        [MiB + 512, 512],
        [2 * MiB - 4096, 4096],
        [MiB, MiB],
        [MiB + 8192, 300_032],
      ] as const
      for (const [offset, length] of places) {
        const cookie = scene.ask(offset, length)
        await until(() => scene.asked.length === 1)
        const { requestId, mapVersion, ...frame } = scene.asked[0]!
        t.match(frame, { opcode: opcodes.read, flags: 0, chunk: 1, offset: offset - MiB, length, bodyBytes: 0 })
        t.match({ ...frame, mapVersion }, place)
        t.ok(requestId >= 2 ** 31, 'its ids are none of a session')
        scene.reply()
        t.equal(await scene.answer(() => offset, length), cookie)
      }
      t.equal(scene.ownReads, 1)
      t.match(scene.backend.tally, {
        ios: 5,
        bytes: 4096 + 512 + 4096 + MiB + 300_032,
        underWay: 0,
        returned: 0,
      })
      t.same(scene.heard, [])
    },
  )

t.test('what is no plain read of such a chunk comes to the backend', async t => {
  const scene = await Scene.make(t)
  await scene.open(MiB)
  for (const [offset, length, fields] of [
    [0, 4096, {}],
    [2 * MiB, 4096, {}],
    [2 * MiB - 4096, 8192, {}],
    [MiB, 4096, { flags: 4 }],
  ] as const) {
    const before = scene.ownReads
    scene.ask(offset, length, fields)
    await scene.answer(() => offset, length)
    t.equal(scene.ownReads, before + 1)
    scene.backend.connection = null
  }
  for (const [offset, length] of [
    [MiB + 1, 512],
    [MiB, 511],
    [9 * MiB, 512],
    [MiB, 0],
  ] as const) {
    scene.ask(offset, length)
    t.equal((await scene.client.chunk()).type, 0x8001, 'the server says what is wrong with it')
  }
  t.equal(scene.asked.length, 0)
})

t.test('what a client asks of other chunks of the slice goes the same way, as far as the volume goes', async t => {
  const scene = await Scene.make(t)
  scene.backend.sliceCount = 3
  await scene.open(MiB)
  t.equal(scene.ownReads, 1)
  for (const chunk of [4, 7, 1]) {
    const offset = chunk * MiB + 8192
    scene.ask(offset)
    await until(() => scene.asked.length === 1)
    t.match(scene.asked[0], { slice: place.slice, chunk, offset: 8192 })
    scene.reply()
    await scene.answer(() => offset)
  }
  scene.backend.cells[place.slice] = place.epoch
  scene.put(7 * MiB)
  await until(() => scene.asked.length === 1)
  t.match(scene.asked[0], { opcode: opcodes.write, slice: place.slice, chunk: 7, offset: 0 })
  scene.reply()
  await scene.next()
  t.equal(scene.ownReads, 1)
  // The backend has been asked for no slice of theirs.
  for (const chunk of [0, 2, 3, 5]) {
    scene.backend.connection = null
    scene.ask(chunk * MiB)
    await scene.answer(() => chunk * MiB)
  }
  t.equal(scene.ownReads, 5)
  scene.ask(10 * MiB)
  t.equal((await scene.client.chunk()).type, 0x8001, 'there is no such chunk')
  t.equal(scene.asked.length, 0)
})

t.test('each slice of a volume keeps its route, whatever others have', async t => {
  const scene = await Scene.make(t)
  const sliceCount = 1024
  scene.backend.sliceCount = sliceCount
  scene.backend.sizeBytes = sliceCount * MiB
  await scene.join()
  for (let slice = 0; slice < sliceCount; slice++) await scene.open(slice * MiB)
  t.equal(scene.ownReads, sliceCount)
  // An SDS has no more than so many of them to answer at a time.
  for (let first = 0; first < sliceCount; first += 128) {
    for (let slice = first; slice < first + 128; slice++) scene.ask(slice * MiB)
    await scene.finish()
  }
  t.equal(scene.backend.tally.ios, sliceCount)
})

t.test('answers come in any order and pieces, between those of sessions', async t => {
  const scene = await Scene.make(t)
  for (let chunk = 0; chunk < 4; chunk++) await scene.open(chunk * MiB)
  const offsets = new Map<bigint, number>()
  const all = 300
  for (let asked = 0; asked < all; ) {
    for (let i = 0; i < 30; i++, asked++) {
      const offset = ((asked * 37) % 1024) * blockBytes
      offsets.set(scene.ask(offset), offset)
    }
    // A write in between, and reads that follow it.
    scene.client.send(request({ type: writeCommand, offset: 6 * MiB, body: bytesAt(6 * MiB, 70_144), cookie: 0n }))
    const follower = scene.ask(blockBytes)
    offsets.set(follower, blockBytes)
    await until(() => scene.asked.length >= 30)
    const frames = scene.asked.splice(0).sort((a, b) => ((a.requestId * 7919) % 1000) - ((b.requestId * 7919) % 1000))
    for (const frame of frames) {
      scene.sds.send(makeFrame({ opcode: opcodes.write, flags: 1, requestId: asked, body: [Buffer.alloc(asked)] }))
      scene.reply([frame])
    }
    for (let answers = 0; answers < 32; ) {
      if (scene.asked.length > 0) scene.reply()
      const cookie = await nextAnswer(scene, offsets)
      answers++
      if (cookie !== 0n) t.ok(offsets.delete(cookie), 'each is answered once')
    }
  }
  t.equal(offsets.size, 0)
  t.ok(scene.backend.tally.ios >= all)
  await until(() => scene.heard.length >= all)
  t.ok(scene.heard.every(({ body, requestId }) => body[0]!.length === requestId))
})

/** A read's answer, or the write's, which has the cookie 0. */
async function nextAnswer(scene: Scene, offsets: Map<bigint, number>): Promise<bigint> {
  const reply = (await scene.client.reply()) as { cookie: bigint; data: Buffer }
  const isRead = reply.cookie !== 0n
  if (isRead && !reply.data.subarray(8).equals(bytesAt(offsets.get(reply.cookie)!, blockBytes)))
    throw new Error('the bytes of a reply')
  return reply.cookie
}

/** The first chunks are read whole: the SDS has been asked, and not answered. The offsets by cookie. */
async function askChunks(scene: Scene, count: number): Promise<Map<bigint, number>> {
  for (let chunk = 0; chunk < count; chunk++) await scene.open(chunk * MiB)
  const offsets = new Map<bigint, number>()
  for (let chunk = 0; chunk < count; chunk++) offsets.set(scene.ask(chunk * MiB, MiB), chunk * MiB)
  await until(() => scene.asked.length === count)
  return offsets
}

/** Each of these reads, by cookie, is answered once, with the bytes of its offset. */
async function answersTo(t: Test, scene: Scene, offsets: Map<bigint, number>, length = blockBytes): Promise<void> {
  while (offsets.size > 0) t.ok(offsets.delete(await scene.answer(cookie => offsets.get(cookie)!, length)))
}

t.test('what the SDS refuses, or answers with too little, comes to the backend', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  for (const spoil of [
    (frame: DataFrame) => makeReply(frame, 9, [Buffer.from('an older epoch')]),
    (frame: DataFrame) => makeReply(frame, 0, [Buffer.alloc(512)]),
    (frame: DataFrame) => makeReply(frame, 0),
    (frame: DataFrame) => makeReply({ ...frame, opcode: opcodes.write }, 0, [Buffer.alloc(blockBytes)]),
  ]) {
    const before = scene.ownReads
    scene.ask(blockBytes)
    await until(() => scene.asked.length === 1)
    scene.sds.send(spoil(scene.asked.shift()!))
    await scene.answer(() => blockBytes)
    t.equal(scene.ownReads, before + 1)
    await until(() => scene.heard.length === 1)
    const answer = scene.heard.shift()!
    t.ok(answer.requestId >= 2 ** 31 && answer.flags === 1, 'the session hears what was answered')
  }
  t.match(scene.backend.tally, { ios: 0, returned: 4, underWay: 0 })
})

t.test('an answer that the relay does not await is the session’s, whatever its id', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const cookie = scene.ask(blockBytes)
  await until(() => scene.asked.length === 1)
  const { requestId } = scene.asked[0]!
  for (const other of [2 ** 31, requestId + 1, requestId + 2 ** 20, 2 ** 32 - 1])
    scene.sds.send(makeReply({ ...scene.asked[0]!, requestId: other }, 0, [Buffer.alloc(blockBytes)]))
  scene.reply()
  t.equal(await scene.answer(() => blockBytes), cookie)
  scene.sds.send(makeReply({ ...scene.asked[0]!, requestId }, 0, [Buffer.alloc(blockBytes)]))
  await until(() => scene.heard.length === 5)
  t.equal(scene.ownReads, 1)
})

t.test('what is taken back is answered by the backend, and its late answer by nobody', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 20; i++) offsets.set(scene.ask(i * blockBytes), i * blockBytes)
  await until(() => scene.asked.length === 20)
  relay.takeBackOlder(60_000)
  t.equal(scene.backend.tally.underWay, 20, 'they are not that old')
  // Half of an answer is there.
  scene.reply(scene.asked.splice(0, 1))
  offsets.delete(await scene.answer(cookie => offsets.get(cookie)!))
  relay.takeBackAll()
  t.equal(scene.backend.tally.underWay, 0)
  await answersTo(t, scene, offsets)
  t.equal(scene.ownReads, 20)
  scene.reply()
  const again = scene.ask(0)
  await until(() => scene.asked.length === 1)
  scene.reply()
  t.equal(await scene.answer(() => 0), again, 'a route was given again')
  scene.ask(0)
  await until(() => scene.asked.length === 1)
  relay.takeBackOlder(0)
  await scene.answer(() => 0)
  t.same(scene.heard, [])
})

t.test('an SDS gets no more before it has answered, not of what was taken back either', async t => {
  const awaitedMax = 192
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  const askMany = (count: number) => {
    for (let i = 0; i < count; i++) offsets.set(scene.ask(i * 512, 512), i * 512)
  }
  askMany(200)
  await until(() => scene.asked.length === awaitedMax)
  while (offsets.size > awaitedMax) t.ok(offsets.delete(await scene.answer(cookie => offsets.get(cookie)!, 512)))
  relay.takeBackOlder(0)
  t.equal(scene.backend.tally.underWay, 0)
  await answersTo(t, scene, offsets, 512)
  askMany(50)
  await answersTo(t, scene, offsets, 512)
  t.equal(scene.asked.length, awaitedMax)
  scene.reply(scene.asked.splice(0, 20))
  scene.sds.send(makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 }))
  await until(() => scene.heard.length === 1)
  const before = scene.ownReads
  askMany(25)
  await until(() => scene.asked.length === awaitedMax)
  scene.reply()
  await answersTo(t, scene, offsets, 512)
  t.equal(scene.ownReads, before + 5)
})

t.test('a client whose reads come back is not read while more is in flight than may be', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  const askMany = (count: number) => {
    for (let i = 0; i < count; i++)
      offsets.set(scene.ask((offsets.size % 1024) * 512, 512), (offsets.size % 1024) * 512)
  }
  scene.backend.holding = true
  askMany(400)
  await until(() => scene.asked.length === 192 && scene.backend.held.length === 208)
  relay.takeBackOlder(0)
  await until(() => scene.backend.held.length === 400)
  const ping = makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 })
  // The SDS would take more.
  scene.reply(scene.asked.splice(0, 20))
  scene.sds.send(ping)
  await until(() => scene.heard.length === 1)
  askMany(300)
  // What comes after it is heard.
  scene.sds.send(ping)
  await until(() => scene.heard.length === 2)
  t.equal(scene.backend.held.length, 400, 'nothing of it has been taken')
  t.equal(scene.asked.length, 172)
  t.equal(scene.served.requestsInFlight, 400)
  scene.backend.release()
  const timer = setInterval(() => scene.reply(), 1)
  await answersTo(t, scene, offsets, 512)
  clearInterval(timer)
  t.equal(scene.served.requestsInFlight, 0)
})

t.test('when the connection to the SDS ends, its reads come to the backend', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 20; i++) offsets.set(scene.ask(i * blockBytes), i * blockBytes)
  await until(() => scene.asked.length === 20)
  scene.reply(scene.asked.splice(5, 3))
  await until(() => scene.backend.tally.ios === 3)
  scene.backend.connection = null
  scene.toSds.close(true)
  await answersTo(t, scene, offsets)
  t.equal(scene.ownReads, 18)
})

t.test('an answer whose rest the SDS did not say before its end comes to the backend', async t => {
  const scene = await Scene.make(t)
  const offsets = await askChunks(scene, 3)
  scene.backend.connection = null
  // There is room for the first one, and not for all of the second; nobody reads before the end, as it is all one turn.
  scene.reply()
  systemClock.endOfTurn(() => scene.sds.close(true))
  await answersTo(t, scene, offsets, MiB)
  t.match(scene.backend.tally, { ios: 1, returned: 2, underWay: 0 })
  t.equal(scene.ownReads, 5)
})

t.test('large answers to a client that does not read wait where nothing overwrites them', async t => {
  const scene = await Scene.make(t)
  const offsets = await askChunks(scene, 7)
  scene.client.stopReading()
  scene.reply()
  await until(() => scene.backend.tally.ios === 7)
  for (let i = 0; i < 8; i++)
    scene.sds.send(makeFrame({ opcode: opcodes.write, flags: 1, requestId: i, body: [Buffer.alloc(MiB, 255)] }))
  await until(() => scene.heard.length === 8)
  scene.client.readAgain()
  await answersTo(t, scene, offsets, MiB)
})

t.test('a client that says goodbye, or sends no more, gets what it has asked for', async t => {
  for (const leave of [
    (scene: Scene) => scene.client.send(request({ type: disconnect, length: 0 })),
    (scene: Scene) => scene.client.end(),
    (scene: Scene) => void scene.served.close(),
  ]) {
    const scene = await Scene.make(t)
    await scene.open(0)
    const offsets = new Map<bigint, number>()
    for (let i = 0; i < 20; i++) offsets.set(scene.ask(i * blockBytes), i * blockBytes)
    await until(() => scene.asked.length === 20)
    leave(scene)
    await answersTo(t, scene, offsets)
    t.equal((await scene.client.rest()).length, 0)
    scene.client.end()
    await scene.served.closed
    t.equal(scene.served.requestsInFlight, 0)
    scene.reply()
  }
})

t.test('whoever closes a client waits until what was answered below has left', async t => {
  const clock = new ManualClock()
  const scene = await Scene.make(t, true, clock)
  await scene.open(0)
  scene.client.stopReading()
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 4; i++) offsets.set(scene.ask(0, MiB), 0)
  await until(() => scene.asked.length === 4)
  scene.reply()
  await until(() => scene.backend.tally.ios === 4)
  t.equal(scene.served.requestsInFlight, 0)
  const closed = scene.served.close()
  // Longer than it would be waited for if everything had left.
  clock.pass(3_000)
  scene.client.readAgain()
  while (offsets.size > 0) t.ok(offsets.delete(await scene.answer(() => 0, MiB)))
  t.equal((await scene.client.rest()).length, 0)
  scene.client.end()
  await closed
})

t.test('a client that is gone leaves nothing behind', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  for (let i = 0; i < 20; i++) scene.ask(i * blockBytes)
  await until(() => scene.asked.length === 20)
  scene.client.hangUp()
  await scene.served.closed
  t.equal(scene.backend.tally.underWay, 0)
  scene.reply()
  scene.sds.send(makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 }))
  await until(() => scene.heard.length === 1)
  t.match(scene.heard, [{ opcode: opcodes.ping }])
})

t.test('a client that does not read is not answered beyond what it may have in flight', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  scene.client.stopReading()
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 100; i++) offsets.set(scene.ask(0, MiB), 0)
  await until(() => scene.asked.length > 0)
  for (let quiet = 0; quiet < 100; quiet++) {
    if (scene.asked.length > 0) quiet = 0
    scene.reply()
    await sleep(1)
  }
  scene.client.readAgain()
  while (offsets.size > 0) {
    scene.reply()
    const next = scene.answer(() => 0, MiB)
    const timer = setInterval(() => scene.reply(), 1)
    t.ok(offsets.delete(await next))
    clearInterval(timer)
  }
})
