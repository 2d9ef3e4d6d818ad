import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { flush, flushes, holdFlushes, letGo, restMs, write } from './flush-scene.js'
import { deviceIds, mappingOf, Outcome, pool, World } from './world.js'

/** A flush of all slices. */
const everySlice = ['0 0:1 2:1 3:1', '1 0:1 1:1 3:1', '2 1:1 2:1']

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
  holdFlushes(world)
  const first = new Outcome()
  volume.flush(first.done)
  await world.clock.runUntil(() => world.sdss[1]!.held.length === 1)
  await write(world, volume, 0)
  letGo(world)
  await world.clock.runUntil(() => first.isDone)
  flushes(world)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
})

t.test('flushes that come while one is under way share the next one', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  holdFlushes(world)
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
  letGo(world)
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

t.test('on a volume that others write to, too, every flush covers all slices', async t => {
  const world = await new World().start()
  const volume = world.open({ shared: true })
  for (let round = 0; round < 2; round++) {
    t.equal(await flush(world, volume), null)
    t.same(flushes(world), everySlice)
  }
  world.move(2, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, volume), 'EIO', 'others may have lost something')
  t.equal(await flush(world, volume), null)
})

t.test('what others wrote is covered once more when they are gone, and then no more', async t => {
  const world = await new World().start()
  const volume = world.open({ shared: true })
  const alone = { volume: volume.volume, pool, mapping: mappingOf(41), isShared: false }
  holdFlushes(world)
  const begunBefore = new Outcome()
  volume.flush(begunBefore.done)
  await world.clock.runUntil(() => world.sdss.every(({ held }) => held.length === 1))
  volume.update(alone)
  letGo(world)
  await world.clock.runUntil(() => begunBefore.isDone)
  flushes(world)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), everySlice, 'they may have written after that flush had begun')
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), [])
  volume.notes.noteOthers()
  volume.update({ ...alone, isShared: true })
  volume.update(alone)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), everySlice, 'they were there again')
})

t.test('what others wrote is covered by the next process, too, which finds itself alone', async t => {
  for (const shared of [true, false]) {
    const world = await new World().start()
    const before = world.open({ shared })
    if (!shared) before.notes.noteOthers()
    t.equal(await flush(world, before), null)
    await world.clock.runFor(restMs)
    before.notes.settle()
    flushes(world)
    world.restart()
    const after = world.open()
    t.equal(await flush(world, after), null)
    t.same(flushes(world), shared ? everySlice : [], 'nobody was there any more when the flush began')
    world.restart()
    t.equal(await flush(world, world.open()), null)
    await world.clock.runFor(restMs)
    flushes(world)
    world.restart()
    t.equal(await flush(world, world.open()), null)
    t.same(flushes(world), [])
  }
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
