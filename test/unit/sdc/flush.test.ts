import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { chunkBytes } from '../../../src/base/units.js'
import { cleanEpoch, dirtyCellAt, readFlushImage } from '../../../src/core/sdc/index.js'
import { silentLog } from '../../../src/ports/index.js'
import { FlushFile } from '../../../src/sdc/flush-file.js'
import type { VolumeClient } from '../../../src/sdc/volume-client.js'
import { opcodes } from '../../../src/wire/data.js'
import { SimClock } from '../../support/index.js'
import { deviceIds, MemoryState, Outcome, World } from './world.js'

/** After this the file knows which slices rest. */
const restMs = 2_100

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

const notesOptions = { log: silentLog, bootId: 'boot-1', volumeId: '5eed00000000001f', mapping: 41, isShared: false }

/** A flush of everything that changes no epoch. */
function finishFlush(notes: FlushFile): void {
  const covered = notes.dirty.beginFlush(false)
  notes.dirty.finishFlush(Uint32Array.from(notes.cells, (_, slice) => notes.dirty.flushedEpoch(slice)))
  notes.flushed(covered)
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
  await world.clock.runFor(restMs)
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

/** What the next process of this boot would find. */
const fileOf = (world: World, volume: VolumeClient) =>
  readFlushImage(world.state.read(world.state.list()[0]!), {
    ...volume.notes.options,
    epochs: new Uint32Array(world.sliceCount),
  })

/** As the relay does when it answers a write of the slice. */
function answerBelow(volume: VolumeClient, slice: number, epoch: number): void {
  if (volume.route(slice * chunkBytes)?.notes == null) throw new Error('there is no way for it')
  const { below } = volume.notes.dirty
  below[slice] = Math.min(below[slice]!, epoch)
}

t.test('a flush asks every copy of a slice of which a write was answered below', async t => {
  const world = await new World().start()
  const volume = world.open()
  for (const chunk of [0, 1]) await write(world, volume, chunk)
  t.equal(await flush(world, volume), null)
  flushes(world)
  answerBelow(volume, 0, 1)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
  t.ok(volume.notes.dirty.isClean)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), [], 'nothing was written since')
})

t.test('a write that is answered below while a flush is under way is covered by the next one', async t => {
  const world = await new World().start()
  const volume = world.open()
  for (const chunk of [0, 1]) await write(world, volume, chunk)
  for (const sds of world.sdss) sds.behave = ({ frame }) => (frame.opcode === opcodes.flush ? 'hold' : undefined)
  const first = new Outcome()
  volume.flush(first.done)
  await world.clock.runUntil(() => world.sdss[1]!.held.length === 1)
  answerBelow(volume, 0, 1)
  for (const sds of world.sdss) {
    sds.behave = () => undefined
    sds.release()
  }
  await world.clock.runUntil(() => first.isDone)
  flushes(world)
  t.equal(await flush(world, volume), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
})

t.test('a slice that is written below and flushed all the time costs one write of the file', async t => {
  const world = await new World().start()
  const volume = world.open()
  const { writes } = world.state
  for (let round = 0; round < 100; round++) {
    if (round > 0 && volume.notes.covers(0, 1)) answerBelow(volume, 0, 1)
    else await write(world, volume, 0)
    t.equal(await flush(world, volume), null)
    await world.clock.runFor(100)
  }
  t.equal(world.state.writes, writes + 1)
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

t.test('the file says what was answered below and not flushed, whatever is cleaned or written whole', async t => {
  const world = await new World().start()
  const volume = world.open()
  const inFile = () => [...fileOf(world, volume).dirtyEpochs.subarray(0, 2)]
  for (const chunk of [0, 1]) await write(world, volume, chunk)
  t.equal(await flush(world, volume), null)
  answerBelow(volume, 0, 1)
  await world.clock.runFor(2 * restMs)
  t.same(inFile(), [1, cleanEpoch], 'it does not rest')
  volume.notes.rewrite()
  t.same([...inFile(), volume.notes.cells[0]], [1, cleanEpoch, 1])
  volume.notes.settle()
  volume.notes.close()
  t.same(inFile(), [1, cleanEpoch])
  flushes(world)
  world.restart()
  t.equal(await flush(world, world.open()), null)
  t.same(flushes(world), ['0 0:1', '1 0:1'])
})

t.test('once nothing can be noted any more, every cell is clean, so that nothing is answered below', async t => {
  const open = (state: MemoryState) =>
    FlushFile.open({ ...notesOptions, clock: new SimClock(), state, epochs: new Uint32Array(4).fill(1) })
  const isAllClean = (notes: FlushFile) => notes.cells.every(cell => cell === cleanEpoch)
  const settle = (notes: FlushFile) => {
    finishFlush(notes)
    notes.settle()
  }
  const ends: { what: string; isBroken: boolean; end: (notes: FlushFile) => void }[] = [
    { what: 'closed', isBroken: false, end: notes => notes.close() },
    { what: 'removed', isBroken: false, end: notes => notes.remove() },
    { what: 'a cell not written', isBroken: true, end: notes => notes.note(3, 1) },
    { what: 'not written whole', isBroken: true, end: notes => notes.rewrite() },
    { what: 'not cleaned', isBroken: true, end: settle },
    { what: 'not opened again', isBroken: true, end: notes => notes.noteOutliving() },
  ]
  for (const { what, isBroken, end } of ends) {
    const state = new MemoryState()
    const notes = open(state)
    const { cells } = notes
    for (const slice of [0, 2]) notes.note(slice, 5)
    t.same([...cells], [5, cleanEpoch, 5, cleanEpoch])
    state.broken = isBroken
    end(notes)
    t.ok(isAllClean(notes), what)
    t.equal(notes.cells, cells, 'the array that others look at')
    t.notOk(notes.usable)
    t.notOk(notes.note(1, 5))
    notes.rewrite()
    t.ok(isAllClean(notes), `${what}, and nothing notes again`)
  }
  const state = new MemoryState()
  open(state).note(0, 5)
  state.broken = true
  t.ok(isAllClean(open(state)), 'it could not be written at the start')
})

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

t.test('on a shared volume a write during a FLUSH is in the file before it is answered', async t => {
  const world = await new World().start()
  const volume = world.open({ shared: true })
  for (const sds of world.sdss) sds.behave = ({ frame }) => (frame.opcode === opcodes.flush ? 'hold' : undefined)
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
