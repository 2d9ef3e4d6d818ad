import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { flush, flushes, holdFlushes, letGo, write } from './flush-scene.js'
import { deviceIds, Outcome, World } from './world.js'

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
