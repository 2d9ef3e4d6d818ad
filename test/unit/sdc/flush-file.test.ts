import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { cleanEpoch, dirtyCellAt } from '../../../src/core/sdc/index.js'
import { FlushFile } from '../../../src/sdc/flush-file.js'
import { SimClock } from '../../support/index.js'
import { fileOf, finishFlush, flush, flushes, holdFlushes, notesOptions, restMs, write } from './flush-scene.js'
import { deviceIds, MemoryState, Outcome, World } from './world.js'

t.test('a slice is noted in the file before its first write is answered, and not again', async t => {
  const world = await new World().start()
  const volume = world.open()
  const { writes } = world.state
  for (let round = 0; round < 10; round++) await write(world, volume, 0)
  t.equal(world.state.writes, writes + 1)
})

t.test('a slice that is written and flushed all the time costs one write of the file', async t => {
  const world = await new World().start()
  const volume = world.open()
  const { writes } = world.state
  for (let round = 0; round < 100; round++) {
    await write(world, volume, 0)
    t.ok(volume.notes.covers(0, 1))
    t.equal(await flush(world, volume), null)
    await world.clock.runFor(100)
  }
  t.equal(world.state.writes, writes + 1)
})

t.test('a slice that rests is clean in the file after a while, one that is unflushed is not', async t => {
  const world = await new World().start()
  const volume = world.open()
  const { writes } = world.state
  for (const chunk of [0, 1]) await write(world, volume, chunk)
  t.equal(await flush(world, volume), null)
  await write(world, volume, 1)
  await world.clock.runFor(1_000)
  t.same([...fileOf(world, volume).dirtyEpochs.subarray(0, 2)], [1, 1], 'it may be written again')
  await world.clock.runFor(restMs - 1_000)
  t.same([...fileOf(world, volume).dirtyEpochs.subarray(0, 2)], [cleanEpoch, 1])
  t.equal(world.state.writes, writes + 3, 'two noted, one cleaned')
  t.notOk(volume.notes.covers(0, 1), 'a write is noted again')
  await write(world, volume, 0)
  t.equal(fileOf(world, volume).dirtyEpochs[0], 1)
})

t.test('where many slices rest, the file is written whole, once', async t => {
  const state = new MemoryState()
  const clock = new SimClock()
  const notes = FlushFile.open({ ...notesOptions, clock, state, epochs: new Uint32Array(100).fill(1) })
  for (let slice = 0; slice < 50; slice++) notes.note(slice, 1)
  finishFlush(notes)
  notes.note(49, 1)
  const { writes } = state
  await clock.runFor(restMs)
  t.equal(state.writes, writes + 1)
  t.same(
    [0, 48, 49].map(slice => state.read(state.list()[0]!)!.readUInt32BE(dirtyCellAt(100, slice))),
    [cleanEpoch, cleanEpoch, 1],
  )
  await clock.runIdle()
})

t.test('while nothing is stale in the file no timer runs, nor after the end', async t => {
  for (const end of ['close', 'remove', 'rewrite', 'noteBehind', 'settle'] as const) {
    const clock = new SimClock()
    const notes = FlushFile.open({ ...notesOptions, clock, state: new MemoryState(), epochs: new Uint32Array(4) })
    await clock.runIdle({ withinMs: 0 })
    notes.note(0, 1)
    finishFlush(notes)
    await t.rejects(clock.runIdle({ withinMs: 0 }), 'cleans later')
    notes[end]()
    await clock.runIdle({ withinMs: 0 })
  }
})

t.test('an older epoch than the one in the file is written at once', async t => {
  const state = new MemoryState()
  const notes = FlushFile.open({ ...notesOptions, clock: new SimClock(), state, epochs: new Uint32Array(4).fill(1) })
  const { cells } = notes
  const inFile = () => state.read(state.list()[0]!)!.readUInt32BE(dirtyCellAt(4, 2))
  notes.note(2, 7)
  finishFlush(notes)
  notes.note(2, 9)
  t.same([inFile(), cells[2], notes.dirty.oldestEpoch(2)], [7, 7, 9], 'a newer one needs no write')
  t.ok(notes.covers(2, 7))
  t.notOk(notes.covers(2, 6))
  notes.note(2, 6)
  t.same([inFile(), cells[2], notes.dirty.oldestEpoch(2)], [6, 6, 6])
  t.equal(notes.cells, cells)
  state.broken = true
  t.notOk(notes.note(1, 6))
  t.notOk(notes.covers(2, 6), 'a file that cannot be written covers nothing')
})

t.test('a process that ends before the file knows what is clean leaves more to flush, not less', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  t.equal(await flush(world, before), null)
  flushes(world)
  world.restart()
  const between = world.open()
  t.equal(await flush(world, between), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
  await write(world, between, 0)
  flushes(world)
  world.restart()
  t.equal(await flush(world, world.open()), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'], 'written after a flush, noted by the write before it')
})

t.test('on a shared volume a write during a FLUSH is in the file before it is answered', async t => {
  const world = await new World().start()
  const volume = world.open({ shared: true })
  holdFlushes(world)
  volume.flush(() => {})
  await world.clock.runUntil(() => world.sdss.every(({ held }) => held.length === 1))
  await write(world, volume, 0)
  t.equal(fileOf(world, volume).dirtyEpochs[0], 1)
})

t.test('a file that is settled and closed leaves the next process nothing to flush but what is unflushed', async t => {
  const world = await new World().start()
  const before = world.open()
  for (const chunk of [0, 1]) await write(world, before, chunk)
  t.equal(await flush(world, before), null)
  await write(world, before, 1)
  before.notes.settle()
  before.notes.close()
  flushes(world)
  world.restart()
  t.equal(await flush(world, world.open()), null)
  t.same(flushes(world), ['1 1:1', '2 1:1'])
})

t.test(
  'after every flush, and every failed one, the file says at least what is unflushed, and in the end just that',
  async t => {
    const world = await new World().start()
    const volume = world.open()
    const { cells, dirty } = volume.notes
    const isCautious = (): boolean => {
      const notes = fileOf(world, volume)
      return cells.every((cell, slice) => notes.dirtyEpochs[slice] === cell && cell <= dirty.oldestEpoch(slice))
    }
    const isWhole = (): boolean => {
      const notes = fileOf(world, volume)
      return cells.every(
        (_, slice) =>
          notes.dirtyEpochs[slice] === dirty.oldestEpoch(slice) &&
          notes.flushedEpochs[slice] === dirty.flushedEpoch(slice),
      )
    }
    await write(world, volume, 0)
    t.ok(isWhole(), 'noted')
    t.equal(await flush(world, volume), null)
    t.ok(isCautious(), 'one slice flushed')
    await world.clock.runFor(restMs)
    t.ok(isWhole(), 'a while later')
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
    t.ok(isCautious(), 'one failed half-way')
    await world.clock.runFor(restMs)
    t.ok(isCautious(), 'and nothing came after it')
    world.sdss[2]!.behave = () => undefined
    await write(world, volume, 2)
    t.equal(await flush(world, volume), null)
    t.ok(isWhole(), 'after one that failed half-way')
  },
)

t.test('a flush file that is damaged says that everything may have been written', async t => {
  const world = await new World().start()
  await write(world, world.open(), 0)
  const [name] = world.state.list()
  world.state.files.set(name!, Buffer.from('not a flush file'))
  world.restart()
  t.equal(await flush(world, world.open()), null)
  t.equal(flushes(world).length, 3)
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

t.test('the next process flushes only what was left unflushed', async t => {
  const world = await new World().start()
  const before = world.open()
  await write(world, before, 0)
  await write(world, before, 1)
  t.equal(await flush(world, before), null)
  await write(world, before, 1)
  await world.clock.runFor(restMs)
  flushes(world)
  world.restart()
  const volume = world.open()
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['1 1:1', '2 1:1'])
})

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
