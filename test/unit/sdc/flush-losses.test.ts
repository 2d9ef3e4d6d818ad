import t from 'tap'
import { FlushFile } from '../../../src/sdc/flush-file.js'
import { SimClock } from '../../support/index.js'
import { answerBelow, finishFlush, flush, flushes, holdFlushes, notesOptions, restMs, write } from './flush-scene.js'
import { deviceIds, MemoryState, Outcome, World } from './world.js'

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
  holdFlushes(world)
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

t.test('a loss that was reported stays in the file as others begin to write', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, before), 'EIO')
  before.notes.noteOthers()
  world.restart()
  t.equal(await flush(world, world.open()), 'EIO')
})

t.test('losses from before a volume was mapped concern nobody', async t => {
  const world = await new World().start()
  world.move(0, { lossEpoch: 2 })
  world.push()
  const volume = world.open()
  await write(world, volume, 0)
  t.equal(await flush(world, volume), null)
})

t.test('a loss of what was answered below is reported', async t => {
  const world = await new World().start()
  const volume = world.open()
  await write(world, volume, 0)
  t.equal(await flush(world, volume), null)
  answerBelow(volume, 0, 1)
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, volume), 'EIO')
  t.equal(await flush(world, volume), null)
})

t.test('a loss after a flush is not told by the next process if this one has flushed since', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  t.equal(await flush(world, before), null)
  world.move(0, { lossEpoch: 2 })
  world.push()
  await write(world, before, 1)
  t.equal(await flush(world, before), null)
  world.restart()
  t.equal(await flush(world, world.open()), null)
})

t.test('a loss that was reported stays in the file, however long, until a later FLUSH has succeeded', async t => {
  const world = await new World().start()
  const first = world.open()
  for (const chunk of [0, 1]) await write(world, first, chunk)
  t.equal(await flush(world, first), null)
  await write(world, first, 0)
  world.move(0, { lossEpoch: 2 })
  world.push()
  t.equal(await flush(world, first), 'EIO')
  await world.clock.runFor(restMs)
  first.notes.noteOutliving()
  first.notes.settle()
  first.notes.close()
  world.restart()
  t.equal(await flush(world, world.open()), 'EIO')
})

t.test('a loss of what others wrote stays in the file, too, although much of it could be cleaned', async t => {
  const state = new MemoryState()
  const clock = new SimClock()
  const options = { ...notesOptions, isShared: true, clock, state, epochs: new Uint32Array(100).fill(1) }
  const notes = FlushFile.open(options)
  for (let slice = 0; slice < 50; slice++) notes.note(slice, 1)
  finishFlush(notes)
  notes.dirty.beginFlush(true)
  for (let slice = 0; slice < 50; slice++) notes.dirty.sliceFlushed(slice, 1)
  notes.dirty.reportLosses(new Uint32Array(100).fill(2))
  notes.noteBehind()
  await clock.runFor(restMs)
  notes.settle()
  notes.close()
  const next = FlushFile.open(options)
  next.dirty.beginFlush(true)
  t.ok(next.dirty.hasLost(99, 2))
})
