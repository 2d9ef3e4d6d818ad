import t from 'tap'
import { cleanEpoch } from '../../../src/core/sdc/index.js'
import { FlushFile } from '../../../src/sdc/flush-file.js'
import { SimClock } from '../../support/index.js'
import {
  answerBelow,
  fileOf,
  finishFlush,
  flush,
  flushes,
  holdFlushes,
  letGo,
  notesOptions,
  restMs,
  write,
} from './flush-scene.js'
import { MemoryState, Outcome, World } from './world.js'

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
  holdFlushes(world)
  const first = new Outcome()
  volume.flush(first.done)
  await world.clock.runUntil(() => world.sdss[1]!.held.length === 1)
  answerBelow(volume, 0, 1)
  letGo(world)
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
