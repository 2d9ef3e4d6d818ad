import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { chunkBytes } from '../../../src/base/units.js'
import { cleanEpoch, readFlushImage } from '../../../src/core/sdc/index.js'
import type { VolumeClient } from '../../../src/sdc/volume-client.js'
import { opcodes } from '../../../src/wire/data.js'
import { deviceIds, Outcome, World } from './world.js'

const block = [Buffer.alloc(4096, 7)]

async function write(world: World, volume: VolumeClient, chunk: number, fua = false): Promise<void> {
  const outcome = new Outcome()
  volume.write(chunk * chunkBytes, block, fua, outcome.done)
  await world.clock.runUntil(() => outcome.isDone)
  if (outcome.errno !== null) throw new Error(`write: ${outcome.errno}`)
}

async function flush(world: World, volume: VolumeClient): Promise<string | null> {
  const outcome = new Outcome()
  volume.flush(outcome.done)
  await world.clock.runUntil(() => outcome.isDone)
  return outcome.errno!
}

/** The flushes that arrived since the last call: device, and slice:epoch of what was asked. */
function flushes(world: World): string[] {
  const out = world.seen
    .filter(({ frame }) => frame.opcode === opcodes.flush)
    .map(({ device, body }) => {
      const pairs = Array.from(
        { length: body.length / 8 },
        (_, i) => `${body.readUInt32BE(8 * i)}:${body.readUInt32BE(8 * i + 4)}`,
      )
      return `${device} ${pairs.join(' ')}`
    })
  for (const sds of world.sdss) sds.seen.length = 0
  return out.sort()
}

t.test('a flush goes to every copy of the slices written since the last one, with their epochs', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  await write(world, volume, 1)
  world.move(1, { joining: deviceIds[0]! })
  world.push()
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1 1:2', '1 0:1 1:2', '2 1:2'])
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), [], 'nothing was written since')
})

t.test('what is durable by itself needs no flush', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0, true)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), [])
})

t.test('a write that is answered while a flush is under way is covered by the next one', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  for (const sds of world.sdss) sds.behave = ({ frame }) => (frame.opcode === opcodes.flush ? 'hold' : undefined)
  const first = new Outcome()
  volume.flush(first.done)
  await world.clock.runUntil(() => world.sdss[1]!.held.length === 1)
  await write(world, volume, 0)
  for (const sds of world.sdss) {
    sds.behave = () => undefined
    sds.release()
  }
  await world.clock.runUntil(() => first.isDone)
  flushes(world)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
})

t.test('flushes that come while one is under way share the next one', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  for (const sds of world.sdss) sds.behave = ({ frame }) => (frame.opcode === opcodes.flush ? 'hold' : undefined)
  const first = new Outcome()
  volume.flush(first.done)
  await world.clock.runUntil(() => world.sdss[0]!.held.length === 1)
  await write(world, volume, 1)
  const later = [new Outcome(), new Outcome()]
  for (const outcome of later) volume.flush(outcome.done)
  await world.clock.runFor(100)
  t.notOk(
    later.some(({ isDone }) => isDone),
    'they did not come before the first one began',
  )
  flushes(world)
  for (const sds of world.sdss) {
    sds.behave = () => undefined
    sds.release()
  }
  await world.clock.runUntil(() => later.every(({ isDone }) => isDone))
  t.same([first.errno, ...later.map(({ errno }) => errno)], [null, null, null])
  t.same(flushes(world), ['1 1:1', '2 1:1'])
})

t.test('a record that changes before all copies have answered is asked again, at the new copies', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  world.sdss[1]!.behave = () => 'hold'
  const outcome = new Outcome()
  volume.flush(outcome.done)
  await world.clock.runUntil(() => world.sdss[1]!.held.length === 1)
  world.move(0, { secondary: deviceIds[2]! })
  world.push()
  await world.clock.runUntil(() => outcome.isDone)
  t.equal(outcome.errno, null)
  t.same(
    flushes(world).filter(line => line.includes('0:2')),
    ['0 0:2', '2 0:2'],
  )
})

t.test('a copy that knows a newer epoch refuses, and the flush follows', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  world.move(0, { joining: deviceIds[2]! })
  t.equal(await flush(world, volume), null)
  t.same(
    flushes(world).filter(line => line.includes('0:2')),
    ['0 0:2', '1 0:2', '2 0:2'],
  )
})

t.test('a copy that is away makes the flush wait', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  world.network.refuse(world.sdss[1]!.at)
  const outcome = new Outcome()
  volume.flush(outcome.done)
  await world.clock.runFor(20_000)
  t.notOk(outcome.isDone)
  world.network.accept(world.sdss[1]!.at)
  await world.clock.runUntil(() => outcome.isDone, { withinMs: 1500 })
  t.equal(outcome.errno, null)
})

t.test('a failed sync fails the flush, and what was written stays unflushed', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  world.sdss[1]!.behave = () => errorTable.MEDIA_ERROR.wire
  t.equal(await flush(world, volume), 'EIO')
  world.sdss[1]!.behave = () => undefined
  flushes(world)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
})

t.test('a loss of unflushed writes fails the flush with EIO, once', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  await write(world, volume, 1)
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, volume), 'EIO')
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:2', '1 0:2 1:1', '2 1:1'], 'what is left is flushed by the next one')
  world.move(0, { lossEpoch: 3 })
  world.push()
  t.equal(await flush(world, volume), null, 'everything was durable before this loss')
})

t.test('a loss fails every flush that is under way, and only those', async t => {
  const world = await new World().start()
  const volume = world.open()
  const other = world.open({ mapping: {}, volume: {} })
  await write(world, volume, 0)
  for (const sds of world.sdss) sds.behave = ({ frame }) => (frame.opcode === opcodes.flush ? 'hold' : undefined)
  const outcomes = [new Outcome(), new Outcome()]
  volume.flush(outcomes[0]!.done)
  await world.clock.runUntil(() => world.sdss[0]!.held.length === 1)
  volume.flush(outcomes[1]!.done)
  world.move(0, { lossEpoch: 2 })
  world.push()
  await world.clock.runUntil(() => outcomes.every(({ isDone }) => isDone))
  t.same(
    outcomes.map(({ errno, calls }) => [errno, calls]),
    [
      ['EIO', 1],
      ['EIO', 1],
    ],
  )
  for (const sds of world.sdss) sds.behave = () => undefined
  t.equal(await flush(world, volume), null)
  t.equal(await flush(world, other), null, 'a volume that wrote nothing lost nothing')
})

t.test('a clean handover of roles is no loss', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  world.move(0, { primary: deviceIds[1]!, secondary: deviceIds[0]! })
  world.push()
  t.equal(await flush(world, volume), null)
})

t.test('the next process knows what the one before left unflushed, and reports its loss', async t => {
  const world = await new World().start()
  await write(world, world.open(), 0)
  world.restart()
  world.move(0, { lossEpoch: 2 })
  world.push()
  const volume = world.open()
  t.equal(await flush(world, volume), 'EIO')
  t.equal(await flush(world, volume), null)
  t.same(flushes(world).slice(-2), ['0 0:2', '1 0:2'])
})

t.test('the next process flushes only what was left unflushed', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  await write(world, before, 1)
  t.equal(await flush(world, before), null)
  await write(world, before, 1)
  flushes(world)
  world.restart()
  const volume = world.open()
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['1 1:1', '2 1:1'])
})

t.test('after a reboot every slice counts as written since the last known flush', async t => {
  const world = await new World().start()
  const before = world.open()
  before.notes.noteOutliving()
  await write(world, before, 0)
  t.equal(await flush(world, before), null)
  flushes(world)
  world.restart('boot-2')
  world.move(3, { lossEpoch: 2 })
  world.push()
  const volume = world.open()
  t.equal(await flush(world, volume), 'EIO', 'a write of the last boot may have been lost')
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1 2:1 3:2', '1 0:1 1:1 3:2', '2 1:1 2:1'])
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), [])
})

t.test('after a reboot that all clients shared, a first FLUSH covers everything and tells of no loss', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  flushes(world)
  world.restart('boot-2')
  const volume = world.open()
  // Decided only when the servers are back, which may be later than this start.
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:2 2:1 3:1', '1 0:2 1:1 3:1', '2 1:1 2:1'])
  await write(world, volume, 0)
  world.move(0, { lossEpoch: 3 })
  world.push()
  t.equal(await flush(world, volume), 'EIO', 'of what this boot wrote it hears')
})

t.test('whoever comes by a socket is told of a loss, whatever has restarted', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  before.notes.noteOutliving()
  world.restart('boot-2')
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, world.open()), 'EIO')
})

t.test('a loss is told again by the next process, if this one ends before a later FLUSH has succeeded', async t => {
  const world = await new World().start()
  const first = world.open()
  await write(world, first, 0)
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, first), 'EIO')
  world.restart()
  const second = world.open()
  t.equal(await flush(world, second), 'EIO', 'the error may never have left the first process')
  t.equal(await flush(world, second), null)
  world.restart()
  t.equal(await flush(world, world.open()), null, 'a later FLUSH has succeeded')
})

t.test('losses from before a volume was mapped concern nobody', async t => {
  const world = await new World().start()
  world.move(0, { lossEpoch: 2 })
  world.push()
  const volume = world.open()
  await write(world, volume, 0)
  t.equal(await flush(world, volume), null)
})

t.test('a flush file that is damaged says that everything may have been written', async t => {
  const world = await new World().start()
  await write(world, world.open(), 0)
  const [name] = world.state.list()
  world.state.files.set(name!, Buffer.from('not a flush file'))
  world.restart()
  t.equal(await flush(world, world.open()), null)
  t.equal(flushes(world).length, 3)
})

t.test('a slice is noted in the file before its first write is answered, and not again', async t => {
  const world = await new World().start()
  const volume = world.open()
  const { writes } = world.state
  for (let round = 0; round < 10; round++) await write(world, volume, 0)
  t.equal(world.state.writes, writes + 1)
})

t.test(
  'after every flush, and every failed one, the file says what is unflushed, as if it were written whole',
  async t => {
    const world = await new World().start()
    const volume = world.open()
    const [name] = world.state.list()
    const { options, dirty } = volume.notes
    const isWhole = (): boolean => {
      const notes = readFlushImage(world.state.read(name!), { ...options, epochs: new Uint32Array(world.sliceCount) })
      for (let slice = 0; slice < world.sliceCount; slice++)
        if (
          notes.dirtyEpochs[slice] !== dirty.oldestEpoch(slice) ||
          notes.flushedEpochs[slice] !== dirty.flushedEpoch(slice)
        )
          return false
      return true
    }
    const { writes } = world.state
    await write(world, volume, 0)
    t.ok(isWhole(), 'noted')
    t.equal(await flush(world, volume), null)
    t.ok(isWhole(), 'one slice flushed')
    t.equal(world.state.writes, writes + 2, 'one cell each')
    await write(world, volume, 1)
    world.move(1, { joining: deviceIds[0]! })
    world.push()
    t.equal(await flush(world, volume), null)
    t.ok(isWhole(), 'flushed in a newer epoch')
    for (const chunk of [0, 1]) await write(world, volume, chunk)
    // The copies of slice 0 answer; the one that slice 1 has besides fails after them.
    world.sdss[2]!.behave = () => 'hold'
    const failing = new Outcome()
    volume.flush(failing.done)
    await world.clock.runUntil(() => dirty.oldestEpoch(0) === cleanEpoch)
    world.sdss[2]!.behave = () => errorTable.MEDIA_ERROR.wire
    world.network.drop('sdc', 'sds-2')
    await world.clock.runUntil(() => failing.isDone)
    t.equal(failing.errno, 'EIO')
    world.sdss[2]!.behave = () => undefined
    await write(world, volume, 2)
    t.equal(await flush(world, volume), null)
    t.ok(isWhole(), 'after one that failed half-way')
  },
)

t.test('while the file cannot be written, every write is made durable before it is answered', async t => {
  const world = await new World().start()
  const volume = world.open()
  world.state.broken = true
  await write(world, volume, 0)
  await write(world, volume, 0)
  t.same(
    world.seen.map(({ frame }) => frame.flags),
    [0, 2, 2],
    'the first one was sent again',
  )
})

t.test('on a volume that others write to, too, every flush covers all slices', async t => {
  const world = await new World().start()
  const volume = world.open({ shared: true })
  for (let round = 0; round < 2; round++) {
    t.equal(await flush(world, volume), null)
    t.same(flushes(world), ['0 0:1 2:1 3:1', '1 0:1 1:1 3:1', '2 1:1 2:1'])
  }
  world.move(2, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, volume), 'EIO', 'others may have lost something')
  t.equal(await flush(world, volume), null)
})

t.test('a flush of a volume that is closed does not wait', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  world.network.refuse(world.sdss[1]!.at)
  const outcome = new Outcome()
  volume.flush(outcome.done)
  await world.clock.runFor(1_000)
  await world.clock.finish(volume.close())
  t.same([outcome.errno, outcome.calls], ['EIO', 1])
})

t.test('a flush that runs into the I/O timeout fails, and leaves what it had to cover unflushed', async t => {
  const world = await new World().start()
  const volume = world.open({ ioTimeoutMs: 2_000 })
  await write(world, volume, 0)
  world.network.refuse(world.sdss[1]!.at)
  t.equal(await flush(world, volume), 'EIO')
  world.network.accept(world.sdss[1]!.at)
  t.equal(await flush(world, volume), null)
  t.ok(flushes(world).includes('1 0:1'))
})
