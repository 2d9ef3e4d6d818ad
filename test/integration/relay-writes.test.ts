import t from 'tap'
import { relay } from '../../src/io/relay.js'
import { type DataFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { seededRandom } from '../support/index.js'
import { request, settle } from '../unit/sdc/nbd/raw-client.js'
import {
  blockBytes,
  clean,
  fua,
  KiB,
  MiB,
  newBytesAt,
  place,
  Scene,
  until,
  writeCommand,
  writeScene,
} from './relay-scene.js'

for (const structured of [false, true])
  t.test(
    `writes behind what was answered go to the SDS, their answers back, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await writeScene(t, structured)
      const { backend } = scene
      // Either opens the way.
      scene.put(MiB)
      await scene.next()
      await scene.open(2 * MiB)
      t.same([backend.written.length, scene.ownReads], [1, 1])
      const places = [
        [1, 0, 4096],
        [1, 512, 512],
        [1, MiB - 4096, 4096],
        [1, MiB - 128 * KiB, 128 * KiB],
        [2, 8192, 70_144],
      ] as const
      for (const [chunk, offset, length] of places) {
        const cookie = scene.put(chunk * MiB + offset, length)
        await until(() => scene.asked.length === 1)
        const { requestId, mapVersion, body, ...frame } = scene.asked[0]!
        t.match(frame, { opcode: opcodes.write, flags: 0, status: 0, chunk, offset, length, bodyBytes: length })
        t.match({ ...frame, mapVersion }, place)
        t.ok(body[0]!.equals(newBytesAt(chunk * MiB + offset, length)))
        t.ok(requestId >= 2 ** 31, 'its ids are none of a session')
        t.equal(backend.below[place.slice], clean, 'it is not noted before it is done')
        t.equal(backend.writes.underWay, 1)
        scene.reply()
        t.equal(await scene.next(), cookie)
        t.equal(backend.below[place.slice], place.epoch, 'it is noted before the client hears of it')
        backend.below[place.slice] = clean
      }
      await scene.hearNoMore()
      t.equal(backend.written.length, 1)
      const bytes = places.reduce((sum, [, , length]) => sum + length, 0)
      t.match(backend.writes, { ios: 5, bytes, underWay: 0, returned: 0 })
      t.match(backend.tally, { ios: 0, returned: 0 })
      t.ok(
        backend.below.every(epoch => epoch === clean),
        'no other slice is touched',
      )
      t.same(scene.heard, [])
    },
  )

t.test('a note is the oldest epoch since it was last taken', async t => {
  const scene = await writeScene(t)
  await scene.open(0)
  for (const [before, after] of [
    [clean, place.epoch],
    [place.epoch + 1, place.epoch],
    [place.epoch - 1, place.epoch - 1],
  ] as const) {
    scene.backend.below[place.slice] = before
    scene.put(0)
    await until(() => scene.asked.length === 1)
    scene.reply()
    await scene.next()
    t.equal(scene.backend.below[place.slice], after)
  }
})

t.test('a write goes to the SDS only where the flush file says at least as much as it would need', async t => {
  const scene = await Scene.make(t)
  const { backend } = scene
  await scene.open(0)
  for (const [cell, isBelow] of [
    [clean, false],
    [place.epoch, true],
    [place.epoch + 1, false],
    [place.epoch - 1, true],
    [0, true],
    [clean, false],
  ] as const) {
    const before = backend.written.length
    backend.cells[place.slice] = cell
    scene.put(blockBytes)
    await until(() => scene.asked.length > 0 || backend.written.length > before)
    t.same([scene.asked.length, backend.written.length], isBelow ? [1, before] : [0, before + 1], `${cell}`)
    scene.reply()
    await scene.next()
    // Reads need no note.
    scene.ask(blockBytes)
    await until(() => scene.asked.length === 1)
    scene.reply()
    await scene.next()
  }
  t.ok(backend.isWhole)
})

t.test('a write whose note is gone when the SDS answers comes to the backend, which answers it', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  scene.put(blockBytes, 70_144)
  await until(() => scene.asked.length === 1)
  backend.cells[place.slice] = clean
  await scene.caughtUp()
  t.equal(backend.written.length, 0, 'not before')
  scene.reply()
  await scene.next()
  await scene.hearNoMore()
  t.equal(backend.written.length, 1)
  t.ok(backend.isWhole)
  t.equal(backend.below[place.slice], clean)
  t.match(backend.writes, { ios: 0, bytes: 0, underWay: 0, returned: 1 })
  t.same(scene.heard, [], 'the answer was sound')
})

t.test('a write whose note is gone and back, or that has a newer one, is answered', async t => {
  const scene = await writeScene(t)
  await scene.open(0)
  scene.put(blockBytes)
  await until(() => scene.asked.length === 1)
  scene.backend.cells[place.slice] = clean
  await scene.caughtUp()
  scene.backend.cells[place.slice] = place.epoch - 2
  scene.reply()
  await scene.next()
  t.match(scene.backend.writes, { ios: 1, returned: 0 })
})

t.test('what is no plain write of such a chunk comes to the backend', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  for (const offset of [0, 2 * MiB]) await scene.open(offset)
  for (const [offset, length, fields] of [
    [4096, 4096, { flags: fua }],
    [0, 128 * KiB + 512, {}],
    [0, MiB, {}],
    [2 * MiB, 2 * MiB, {}],
    [MiB - 4096, 8192, {}],
    [4 * MiB, 4096, {}],
  ] as const) {
    scene.put(offset, length, fields)
    await scene.next()
    const { offsetBytes, bytes, fua: isFua } = backend.written.at(-1)!
    t.same([offsetBytes, bytes.length, isFua], [offset, length, 'flags' in fields])
  }
  for (const [offset, length] of [
    [1, 512],
    [0, 511],
    [9 * MiB, 512],
    [0, 0],
  ] as const) {
    scene.client.send(request({ type: writeCommand, offset, body: Buffer.alloc(length), cookie: 1n }))
    t.equal((await scene.client.chunk()).type, 0x8001, 'the server says what is wrong with it')
  }
  t.ok(backend.isWhole)
  t.same([backend.written.length, scene.asked.length], [6, 0])
  t.match(backend.writes, { ios: 0, returned: 0, underWay: 0 })
})

t.test('a route without notes takes reads alone', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  backend.takesWrites = false
  await scene.open(0)
  scene.put(0)
  await scene.next()
  scene.ask(blockBytes)
  await until(() => scene.asked.length === 1)
  scene.reply()
  await scene.next()
  t.same([backend.written.length, scene.ownReads], [1, 1])
  // The next answer opens the way for writes, too.
  backend.takesWrites = true
  scene.put(0)
  await scene.next()
  t.equal(backend.written.length, 2)
  scene.put(0)
  await until(() => scene.asked.length === 1)
  scene.reply()
  await scene.next()
  t.equal(backend.written.length, 2)
})

for (const structured of [false, true])
  t.test(
    `requests that come in pieces of any size are whole at the SDS, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await writeScene(t, structured)
      const { backend } = scene
      await scene.open(0)
      await scene.open(MiB)
      const random = seededRandom(3)
      const send = async (bytes: Buffer, pieceBytes: () => number) => {
        for (let at = 0; at < bytes.length; ) {
          const piece = bytes.subarray(at, at + pieceBytes())
          scene.client.send(piece)
          at += piece.length
          // The server reads it before there is more.
          await settle(1)
        }
      }
      await send(scene.writeOf(512, 512).bytes, () => 1)
      for (let cut = 1; cut < 28; cut++) {
        let isFirst = true
        await send(scene.writeOf(cut * 512, 1024).bytes, () => {
          const length = isFirst ? cut : 500
          isFirst = false
          return length
        })
      }
      await until(() => scene.asked.length === 28)
      await scene.finish(random)
      t.match(backend.writes, { ios: 28, bytes: 512 + 27 * 1024, returned: 0 })
      // Many behind each other, with their boundaries anywhere in a piece.
      const many: Buffer[] = []
      for (let i = 0; i < 60; i++) {
        many.push(scene.writeOf(MiB + 8192 * i, [512, 4096, 12_288, 70_144][i % 4]).bytes)
        many.push(scene.readOf(512 * i).bytes)
      }
      const sizes = [1, 3, 27, 28, 29, 511, 540, 5000, 33_333, 100_001]
      const timer = setInterval(() => scene.replySome(random), 1)
      await send(Buffer.concat(many), () => sizes[random.integer(sizes.length)]!)
      clearInterval(timer)
      await scene.finish(random)
      t.match(backend.writes, { ios: 88, underWay: 0, returned: 0 })
      t.match(backend.tally, { ios: 60, underWay: 0, returned: 0 })
      t.same([backend.written.length, scene.heard], [0, []])
    },
  )

for (const structured of [false, true])
  t.test(
    `many reads and writes at a time are each answered once, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await writeScene(t, structured)
      const { backend } = scene
      await scene.work(2000)
      const { tally, writes } = backend
      t.ok(backend.isWhole)
      t.ok(writes.ios > 600 && tally.ios > 600, `${writes.ios} writes and ${tally.ios} reads went past the backend`)
      t.match(
        [tally, writes],
        [
          { underWay: 0, returned: 0 },
          { underWay: 0, returned: 0 },
        ],
      )
      t.same(scene.heard, [])
    },
  )

t.test('an SDS gets no more writes before it has answered', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  for (let i = 0; i < 200; i++) scene.put(i * 512, 512)
  await until(() => scene.asked.length === 192 && backend.written.length === 8)
  await scene.finish()
  t.match(backend.writes, { ios: 192, underWay: 0, returned: 0 })
})

t.test('a write that the SDS refuses, or answers as it should not, comes to the backend whole', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  for (const spoil of [
    (frame: DataFrame) => makeReply(frame, 9, [Buffer.from('an older epoch')]),
    (frame: DataFrame) => makeReply(frame, 9),
    (frame: DataFrame) => makeReply(frame, 0, [Buffer.alloc(512)]),
    (frame: DataFrame) => makeReply({ ...frame, opcode: opcodes.read }, 0),
    (frame: DataFrame) => makeReply({ ...frame, opcode: opcodes.read }, 0, [Buffer.alloc(frame.length)]),
  ]) {
    const before = backend.written.length
    scene.put(blockBytes, 70_144)
    await until(() => scene.asked.length === 1)
    scene.sds.send(spoil(scene.asked.shift()!))
    await scene.next()
    await scene.hearNoMore()
    t.equal(backend.written.length, before + 1)
    await until(() => scene.heard.length === 1)
    const answer = scene.heard.shift()!
    t.ok(answer.requestId >= 2 ** 31 && answer.flags === 1, 'the session hears what was answered')
  }
  t.ok(backend.isWhole)
  t.equal(backend.below[place.slice], clean)
  t.match(backend.writes, { ios: 0, returned: 5, underWay: 0 })
})

t.test('writes that are taken back come to the backend whole, and their late answers to nobody', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  const lengths = [512, 4096, 12_288, 70_144]
  const putMany = async () => {
    const before = scene.asked.length
    for (let i = 0; i < 40; i++) {
      if (i % 4 === 3) scene.ask(i * blockBytes, lengths[(i >> 2) & 3])
      else scene.put(i * blockBytes, lengths[(i >> 2) & 3])
    }
    await until(() => scene.asked.length === before + 40)
  }
  await scene.open(0)
  await putMany()
  relay.takeBackOlder(60_000)
  t.equal(backend.writes.underWay, 30, 'they are not that old')
  scene.reply(scene.asked.splice(0, 4))
  await until(() => backend.writes.ios === 3 && backend.tally.ios === 1)
  relay.takeBackAll()
  t.same([backend.writes.underWay, backend.tally.underWay], [0, 0])
  while (scene.waiting.size > 0) await scene.next()
  t.same([backend.written.length, backend.writes.returned], [27, 27])
  // The answers come late, and in two parts.
  scene.reply(scene.asked.splice(0, 10))
  await scene.caughtUp()
  await putMany()
  relay.takeBackOlder(0)
  while (scene.waiting.size > 0) await scene.next()
  t.same([backend.written.length, backend.writes.returned], [57, 57])
  await scene.hearNoMore()
  scene.reply()
  await scene.caughtUp()
  t.ok(backend.isWhole)
  t.equal(backend.writes.ios, 3)
  // More than there are places for: each is used again.
  await scene.work(1200)
  for (let i = 0; i < 192; i++) scene.put(MiB * (i & 1) + i * 512, 512)
  await until(() => scene.asked.length === 192)
  await scene.finish()
  t.ok(backend.isWhole)
  t.same([backend.writes.underWay, backend.writes.returned], [0, 57])
  t.same(scene.heard, [])
})

t.test('a write that is taken back while its payload comes in is the backend’s when it is there', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  const { bytes } = scene.writeOf(blockBytes, 70_144)
  scene.client.send(bytes.subarray(0, 30_000))
  await until(() => backend.writes.underWay === 1)
  relay.takeBackOlder(0)
  relay.takeBackAll()
  await scene.caughtUp()
  t.same([backend.writes.underWay, backend.written.length, scene.asked.length], [1, 0, 0], 'it is not complete')
  scene.client.send(bytes.subarray(30_000))
  await scene.next()
  await scene.hearNoMore()
  t.same([backend.written.length, scene.asked.length], [1, 0])
  t.ok(backend.isWhole)
  t.match(backend.writes, { ios: 0, underWay: 0, returned: 1 })
  scene.put(0)
  await until(() => scene.asked.length === 1)
  scene.reply()
  await scene.next()
  t.equal(backend.written.length, 1, 'its answer has opened the way again')
})

t.test('a write goes where the way is when its payload is complete', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  backend.holding = true
  // It goes to the backend, and its answer says the way anew.
  scene.ask(0, blockBytes, { flags: fua })
  const { bytes } = scene.writeOf(blockBytes, 70_144)
  scene.client.send(bytes.subarray(0, 30_000))
  await until(() => backend.writes.underWay === 1 && backend.held.length === 1)
  relay.takeBackAll()
  backend.epoch++
  backend.release()
  await scene.next()
  scene.client.send(bytes.subarray(30_000))
  await until(() => scene.asked.length === 1)
  t.equal(scene.asked[0]!.epoch, backend.epoch)
  scene.reply()
  await scene.next()
  t.equal(backend.below[place.slice], backend.epoch)
  t.equal(backend.written.length, 0)
})
