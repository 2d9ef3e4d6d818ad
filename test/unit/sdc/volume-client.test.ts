import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { chunkBytes, GiB, KiB, MiB } from '../../../src/base/units.js'
import { relayIdsFrom } from '../../../src/sdc/sent-table.js'
import { encode } from '../../../src/wire/codec.js'
import { frameFlags, makeFrame, makeReply, opcodes } from '../../../src/wire/data.js'
import { deviceIds, idOf, Outcome, volumeOf, World } from './world.js'

const bytesOf = (length: number, seed = 1) => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff))

t.test('a write is cut at chunk boundaries, goes to the primaries, and reads back', async t => {
  const world = await new World().start()
  const volume = world.open()
  const written = new Outcome()
  const data = bytesOf(2 * MiB)
  volume.write(chunkBytes - 4096, [data.subarray(0, 5000), data.subarray(5000)], false, written.done)
  await world.clock.runUntil(() => written.isDone)
  t.equal(written.errno, null)
  t.same(world.seen.map(({ device, frame }) => [device, frame.chunk, frame.offset, frame.length]).sort(), [
    [0, 0, chunkBytes - 4096, 4096],
    [1, 1, 0, chunkBytes],
    [2, 2, 0, chunkBytes - 4096],
  ])
  const target = Buffer.alloc(2 * MiB)
  const read = new Outcome()
  volume.read(chunkBytes - 4096, target, read.done)
  await world.clock.runUntil(() => read.isDone)
  t.ok(target.equals(data))
  t.match(world.seen[0]!.frame, { mapping: 41, volume: 31, pool: 3, epoch: 1, mapVersion: world.map.version })
})

t.test(
  'what a lost connection left unanswered is sent again, in order, on a session with a higher counter',
  async t => {
    const world = await new World().start()
    const volume = world.open()
    const sds = world.sdss[0]!
    sds.behave = () => 'hold'
    const outcomes = Array.from({ length: 20 }, () => new Outcome())
    for (const [i, outcome] of outcomes.entries()) volume.write(4096 * i, [bytesOf(4096, i)], false, outcome.done)
    await world.clock.runUntil(() => sds.seen.length === 20)
    world.network.drop('sdc', 'sds-0')
    sds.behave = () => undefined
    await world.clock.runUntil(() => outcomes.every(outcome => outcome.isDone))
    const again = sds.seen.slice(20)
    t.same(
      again.map(({ counter }) => counter),
      new Array(20).fill(2),
    )
    t.same(
      again.map(({ frame }) => frame.offset),
      outcomes.map((_, i) => 4096 * i),
    )
    t.equal(new Set(sds.seen.map(({ frame }) => frame.requestId)).size, 40, 'each sending has an id of its own')
    t.ok(outcomes.every(({ errno, calls }) => errno === null && calls === 1))
  },
)

t.test('a request is answered once, by the last sending, also when the old primary answers late', async t => {
  const world = await new World().start()
  const volume = world.open()
  const [first, second] = world.sdss
  first!.behave = () => 'hold'
  second!.behave = () => 'hold'
  const outcome = new Outcome()
  volume.write(0, [bytesOf(4096)], false, outcome.done)
  await world.clock.runUntil(() => first!.held.length === 1)
  world.move(0, { primary: deviceIds[1]!, secondary: deviceIds[0]! })
  world.push()
  await world.clock.runUntil(() => second!.held.length === 1)
  first!.release()
  await world.clock.runFor(100)
  t.equal(outcome.calls, 0, 'the answer of a device that is no longer primary does not count')
  second!.release()
  await world.clock.runUntil(() => outcome.isDone)
  await world.clock.runFor(1000)
  t.same([outcome.errno, outcome.calls], [null, 1])
  t.equal(second!.seen[0]!.frame.epoch, 2)
})

t.test('a newer epoch with the same primary does not send again what is not refused', async t => {
  const world = await new World().start()
  const volume = world.open()
  const sds = world.sdss[0]!
  sds.behave = () => 'hold'
  const outcome = new Outcome()
  volume.write(0, [bytesOf(4096)], false, outcome.done)
  await world.clock.runUntil(() => sds.held.length === 1)
  world.move(0, { secondary: deviceIds[2]! })
  world.push()
  await world.clock.runFor(500)
  t.equal(sds.seen.length, 1)
  sds.behave = () => undefined
  sds.release()
  await world.clock.runUntil(() => outcome.isDone)
  t.equal(outcome.errno, null)
})

t.test('a refusal for an old epoch brings the map changes along, and the request goes to the new primary', async t => {
  const world = await new World().start()
  const volume = world.open()
  world.move(0, { primary: deviceIds[2]! })
  const outcome = new Outcome()
  volume.write(0, [bytesOf(4096)], false, outcome.done)
  await world.clock.runUntil(() => outcome.isDone)
  t.equal(outcome.errno, null)
  t.same(
    world.seen.map(({ device, frame }) => [device, frame.epoch]),
    [
      [0, 1],
      [2, 2],
    ],
  )
  t.equal(world.map.version, world.truth.version)
})

t.test(
  'a refusal of what the relay has sent is no answer to the session, and brings the map changes along',
  async t => {
    const world = await new World().start()
    const volume = world.open()
    const first = new Outcome()
    volume.write(0, [bytesOf(4096)], false, first.done)
    await world.clock.runUntil(() => first.isDone)
    const sds = world.sdss[0]!
    const session = [...world.path.sessions].find(({ deviceId }) => deviceId === deviceIds[0])!
    const relayed = makeFrame({ opcode: opcodes.read, requestId: relayIdsFrom + 7 })
    sds.say(makeReply(relayed, errorTable.NOT_READY.wire, [Buffer.from('not yet')]))
    world.move(0, { primary: deviceIds[2]! })
    // An SDS says it once on each connection.
    sds.say(makeReply(relayed, errorTable.STALE_EPOCH.wire, [encode(world.deltas.slice(-1))]))
    await world.clock.runUntil(() => world.map.version === world.truth.version)
    t.match(session, { isUp: true, connects: 1 })
    sds.say(makeReply(relayed, errorTable.NO_SESSION.wire))
    await world.clock.runUntil(() => !session.isUp)
  },
)

t.test('a refusal without changes waits for the MDM, without flooding the server', async t => {
  const world = await new World().start()
  const volume = world.open()
  const sds = world.sdss[0]!
  sds.behave = () => errorTable.STALE_EPOCH.wire
  const outcomes = Array.from({ length: 50 }, () => new Outcome())
  for (const [i, outcome] of outcomes.entries()) volume.write(4096 * i, [bytesOf(4096)], false, outcome.done)
  await world.clock.runFor(2000)
  t.ok(sds.seen.length < 50 * 12, `${sds.seen.length} requests in two seconds`)
  world.move(0, { primary: deviceIds[1]! })
  world.push()
  await world.clock.runUntil(() => outcomes.every(({ isDone }) => isDone), { withinMs: 50 })
  t.same(
    world.sdss[1]!.seen.map(({ frame }) => frame.offset),
    outcomes.map((_, i) => 4096 * i),
    'in their order',
  )
})

t.test('a slice that is not ready is tried again until it is; no error reaches the application', async t => {
  const world = await new World().start()
  const volume = world.open()
  const sds = world.sdss[0]!
  sds.behave = () => errorTable.NOT_READY.wire
  const outcome = new Outcome()
  volume.read(0, Buffer.alloc(4096), outcome.done)
  await world.clock.runFor(60_000)
  t.notOk(outcome.isDone)
  sds.behave = () => undefined
  await world.clock.runUntil(() => outcome.isDone, { withinMs: 600 })
  t.equal(outcome.errno, null)
})

t.test('a server that is away makes requests wait, and go on when it is back', async t => {
  const world = await new World().start()
  const volume = world.open()
  world.network.refuse(world.sdss[0]!.at)
  const outcome = new Outcome()
  volume.read(0, Buffer.alloc(4096), outcome.done)
  await world.clock.runFor(30_000)
  t.notOk(outcome.isDone)
  world.network.accept(world.sdss[0]!.at)
  await world.clock.runUntil(() => outcome.isDone, { withinMs: 1100 })
})

t.test('a server that is silent is given up, and another connection tried', async t => {
  const world = await new World().start()
  const volume = world.open()
  const outcome = new Outcome()
  world.sdss[0]!.behave = () => 'hold'
  volume.read(0, Buffer.alloc(4096), outcome.done)
  await world.clock.runFor(40_000)
  t.equal(world.sdss[0]!.counterLast, 1, 'slow is not silent: pings are answered')
  world.network.cut('sdc', 'sds-0')
  await world.clock.runFor(40_000)
  world.sdss[0]!.behave = () => undefined
  world.network.heal()
  await world.clock.runUntil(() => outcome.isDone, { withinMs: 5000 })
  t.ok(world.sdss[0]!.counterLast > 1)
})

t.test('a newer process has taken over: nothing is answered, and the daemon hears of it', async t => {
  const world = await new World().start()
  const volume = world.open()
  world.sdss[0]!.helloStatus = errorTable.NO_SESSION.wire
  const outcome = new Outcome()
  volume.read(0, Buffer.alloc(4096), outcome.done)
  await world.clock.runFor(500)
  t.ok(world.noSessions > 0)
  t.notOk(outcome.isDone)
})

t.test('errors of the storage reach the application with their own errno', async t => {
  const world = await new World().start()
  const volume = world.open()
  for (const [code, errno] of [
    ['OUT_OF_SPACE', 'ENOSPC'],
    ['MEDIA_ERROR', 'EIO'],
    ['READ_ONLY', 'EPERM'],
  ] as const) {
    world.sdss[0]!.behave = () => errorTable[code].wire
    const outcome = new Outcome()
    volume.write(chunkBytes - 4096, [bytesOf(8192)], false, outcome.done)
    await world.clock.runUntil(() => outcome.isDone)
    t.same([outcome.errno, outcome.calls], [errno, 1])
  }
})

t.test('not mapped, although the map says so: tried again for a while, then an error', async t => {
  const { mapping, sdc } = { mapping: idOf<'mapping'>(41), sdc: idOf<'sdc'>(51) }
  const value = {
    id: mapping,
    volumeId: idOf<'volume'>(31),
    sdcId: sdc,
    accessMode: 'ReadWrite' as const,
    iopsLimit: null,
    bandwidthLimitKbPerSec: null,
  }
  const world = await new World().start([{ kind: 'put', table: 'mappings', value }])
  const volume = world.open()
  world.sdss[0]!.behave = () => errorTable.NOT_MAPPED.wire
  const outcome = new Outcome()
  volume.write(0, [bytesOf(4096)], false, outcome.done)
  await world.clock.runFor(5_000)
  t.notOk(outcome.isDone)
  await world.clock.runFor(15_000)
  t.equal(outcome.errno, 'EPERM')
})

t.test('a whole chunk of zeroes is stored as a hole on a thin volume, and kept on a thick one', async t => {
  const world = await new World().start()
  const zeroes = [Buffer.alloc(700 * KiB), Buffer.alloc(chunkBytes - 700 * KiB)]
  const almost = Buffer.alloc(chunkBytes)
  almost[chunkBytes - 1] = 1
  const thin = world.open()
  const outcomes = [new Outcome(), new Outcome(), new Outcome(), new Outcome()]
  thin.write(0, zeroes, true, outcomes[0]!.done)
  thin.write(0, [almost], false, outcomes[1]!.done)
  thin.write(4096, [Buffer.alloc(chunkBytes - 4096)], false, outcomes[2]!.done)
  const thick = world.open({ volume: { ...volumeOf(32), type: 'thick' } })
  thick.write(0, zeroes, false, outcomes[3]!.done)
  await world.clock.runUntil(() => outcomes.every(({ isDone }) => isDone))
  t.same(
    world.seen.map(({ frame }) => [frame.opcode, frame.bodyBytes, frame.flags]),
    [
      [opcodes.trim, 0, frameFlags.fua],
      [opcodes.write, chunkBytes, 0],
      [opcodes.write, chunkBytes - 4096, 0],
      [opcodes.write, chunkBytes, 0],
    ],
  )
  t.equal(thin.stats.zeroChunks, 1)
})

t.test('a trim of 4 GiB is cut lazily: few parts are under way at any time', async t => {
  const world = await new World().start()
  const volume = world.open()
  let most = 0
  for (const sds of world.sdss)
    sds.behave = () => {
      most = Math.max(
        most,
        [...world.path.sessions].reduce((sum, session) => sum + session.keptCount, 0),
      )
      return undefined
    }
  const outcome = new Outcome()
  volume.trim(512, 4 * GiB - 1024, false, outcome.done)
  await world.clock.runUntil(() => outcome.isDone, { withinMs: 120_000 })
  t.equal(outcome.errno, null)
  t.equal(world.seen.length, 4096)
  t.ok(most <= 64, `${most} at most`)
  t.same(
    [
      world.seen.filter(({ frame }) => frame.length !== chunkBytes).length,
      world.seen.filter(({ frame }) => frame.opcode !== opcodes.trim).length,
    ],
    [2, 0],
  )
})

t.test('zeroes that must stay allocated say so', async t => {
  const world = await new World().start()
  const volume = world.open()
  const outcomes = [new Outcome(), new Outcome()]
  volume.zero(0, chunkBytes, true, false, outcomes[0]!.done)
  volume.zero(0, chunkBytes, false, true, outcomes[1]!.done)
  await world.clock.runUntil(() => outcomes.every(({ isDone }) => isDone))
  t.same(
    world.seen.map(({ frame }) => frame.flags),
    [0, frameFlags.keepAllocated | frameFlags.fua],
  )
})

t.test('after the I/O timeout a request fails with EIO, once, and is not sent again', async t => {
  const world = await new World().start()
  const volume = world.open({ ioTimeoutMs: 5_000 })
  const sds = world.sdss[0]!
  sds.behave = () => 'hold'
  const sent = new Outcome()
  volume.write(0, [bytesOf(4096)], false, sent.done)
  await world.clock.runFor(1_000)
  const later = new Outcome()
  volume.write(4096, [bytesOf(4096)], false, later.done)
  await world.clock.runFor(4_100)
  t.equal(sent.errno, 'EIO')
  t.notOk(later.isDone)
  sds.behave = () => undefined
  world.network.drop('sdc', 'sds-0')
  await world.clock.runUntil(() => later.isDone)
  await world.clock.runFor(5_000)
  t.same([sent.calls, later.calls, later.errno], [1, 1, null])
  t.same(
    sds.seen.map(({ frame }) => frame.offset),
    [0, 4096, 4096],
  )
})

t.test('a volume that is closed answers what waits, waits for what is sent, and refuses what comes', async t => {
  const world = await new World().start()
  const volume = world.open({ mapping: { iopsLimit: 11 } })
  const sds = world.sdss[0]!
  sds.behave = () => 'hold'
  await world.clock.runFor(1000)
  const outcomes = Array.from({ length: 8 }, () => new Outcome())
  for (const [i, outcome] of outcomes.entries()) volume.write(4096 * i, [bytesOf(4096)], false, outcome.done)
  await world.clock.runUntil(() => sds.seen.length > 0)
  const sent = sds.seen.length
  let closed = false
  void volume.close().then(() => {
    closed = true
  })
  t.equal(outcomes.filter(({ errno }) => errno === 'ESHUTDOWN').length, 8 - sent)
  await world.clock.runFor(1000)
  t.notOk(closed)
  sds.release()
  await world.clock.runUntil(() => closed)
  t.ok(outcomes.every(({ calls }) => calls === 1))
  const late = new Outcome()
  volume.read(0, Buffer.alloc(512), late.done)
  await world.clock.runUntil(() => late.isDone)
  t.equal(late.errno, 'ESHUTDOWN')
})

t.test('a closed volume sends nothing again when a connection ends', async t => {
  const world = await new World().start()
  const volume = world.open()
  const sds = world.sdss[0]!
  sds.behave = () => 'hold'
  const outcome = new Outcome()
  volume.write(0, [bytesOf(4096)], false, outcome.done)
  await world.clock.runUntil(() => sds.seen.length === 1)
  const closed = volume.close()
  world.network.drop('sdc', 'sds-0')
  await world.clock.finish(closed)
  await world.clock.runFor(5000)
  t.same([outcome.errno, outcome.calls, sds.seen.length], ['ESHUTDOWN', 1, 1])
})

t.test('extents: what is allocated, cut to the range, neighbours merged', async t => {
  const world = await new World().start()
  const volume = world.open()
  for (const chunk of [1, 2, 9]) world.chunks.set(chunk, Buffer.alloc(chunkBytes))
  let found: unknown
  volume.extents(chunkBytes / 2, 9 * chunkBytes, (errno, extents) => {
    found = { errno, extents }
  })
  world.move(1, { primary: deviceIds[2]! })
  await world.clock.runUntil(() => found !== undefined)
  t.same(found, {
    errno: null,
    extents: [
      { lengthBytes: chunkBytes / 2, hole: true },
      { lengthBytes: 2 * chunkBytes, hole: false },
      { lengthBytes: 6 * chunkBytes, hole: true },
      { lengthBytes: chunkBytes / 2, hole: false },
    ],
  })
})

t.test('extents: a primary that is away is asked again when it is back, and its successor when it is not', async t => {
  const world = await new World().start()
  const volume = world.open()
  world.network.refuse(world.sdss[1]!.at)
  let calls = 0
  volume.extents(0, 4 * chunkBytes, () => calls++)
  await world.clock.runFor(5_000)
  t.equal(calls, 0)
  world.move(1, { primary: deviceIds[2]! })
  world.push()
  await world.clock.runUntil(() => calls === 1, { withinMs: 3_000 })
})

t.test('more requests than the window wait for answers, and all are answered in the end', async t => {
  const world = await new World().start()
  const volume = world.open()
  const outcomes = Array.from({ length: 1500 }, () => new Outcome())
  const sds = world.sdss[0]!
  sds.behave = () => 'hold'
  for (const [i, outcome] of outcomes.entries()) volume.read(512 * i, Buffer.alloc(512), outcome.done)
  await world.clock.runFor(100)
  t.equal(sds.held.length, 512)
  sds.behave = () => undefined
  sds.release()
  await world.clock.runUntil(() => outcomes.every(({ calls }) => calls === 1))
})
