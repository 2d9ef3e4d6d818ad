import fc from 'fast-check'
import t from 'tap'
import { cleanEpoch, DirtySlices, dirtyCellAt, flushImageOf, readFlushImage } from '../../../../src/core/sdc/index.js'

const slices = 4
const fresh = () =>
  new DirtySlices({
    flushedEpochs: new Uint32Array(slices).fill(1),
    dirtyEpochs: new Uint32Array(slices).fill(cleanEpoch),
  })
/** As the addon does, where it may. */
function noteBelow(dirty: DirtySlices, slice: number, epoch: number): void {
  dirty.mayBeNotedBelow(slice)
  dirty.below[slice] = Math.min(dirty.below[slice]!, epoch)
}
const owner = {
  bootId: '4dc6b0b2-5f0a-4a3f-9a39-6bd0d3a6d9e1',
  mapping: 41,
  epochs: new Uint32Array(slices).fill(9),
  isShared: false,
  hasOutliving: true,
}
const imageOf = (dirty: DirtySlices, of: typeof owner) =>
  flushImageOf(
    dirty,
    Uint32Array.from({ length: slices }, (_, slice) => dirty.oldestEpoch(slice)),
    of,
  )

t.test(
  'where nothing else has moved, a flush that looks only at what it covers ends like one that looks at everything',
  async () => {
    const epochs = fc.array(fc.integer({ min: 1, max: 3 }), { minLength: slices, maxLength: slices })
    const writes = fc.array(fc.nat(slices - 1), { maxLength: 4 })
    fc.assert(
      fc.property(epochs, fc.array(fc.tuple(writes, fc.boolean()), { maxLength: 6 }), (now, flushes) => {
        const [all, some] = [fresh(), fresh()]
        for (const dirty of [all, some]) {
          dirty.beginFlush(false)
          dirty.finishFlush(Uint32Array.from(now))
        }
        for (const [written, isDone] of flushes) {
          for (const slice of written) for (const dirty of [all, some]) dirty.note(slice, now[slice]!)
          if (all.beginFlush(false).join() !== some.beginFlush(false).join()) return false
          const outcome = isDone ? Uint32Array.from(now) : null
          if (all.finishFlush(outcome, true) !== some.finishFlush(outcome, false)) return false
          if (all.isClean !== some.isClean || (isDone && !all.isClean)) return false
          for (let slice = 0; slice < slices; slice++)
            if (
              all.oldestEpoch(slice) !== some.oldestEpoch(slice) ||
              all.flushedEpoch(slice) !== some.flushedEpoch(slice)
            )
              return false
        }
        return true
      }),
    )
  },
)

t.test('notes keep the oldest epoch, whatever flushes and writes do', async () => {
  type Step =
    | { kind: 'note' | 'below'; slice: number; epoch: number }
    | { kind: 'begin' }
    | { kind: 'end'; done: boolean }
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constantFrom('note' as const, 'below' as const),
      slice: fc.nat(slices - 1),
      epoch: fc.integer({ min: 1, max: 20 }),
    }),
    fc.constant({ kind: 'begin' as const }),
    fc.record({ kind: fc.constant('end' as const), done: fc.boolean() }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), steps => {
      const dirty = fresh()
      // The model: every unflushed write, and whether the flush under way covers it.
      let writes: { slice: number; epoch: number; covered: boolean }[] = []
      let underWay = false
      for (const one of steps) {
        if (one.kind === 'note' || one.kind === 'below') {
          if (one.kind === 'note') dirty.note(one.slice, one.epoch)
          else noteBelow(dirty, one.slice, one.epoch)
          writes.push({ slice: one.slice, epoch: one.epoch, covered: false })
        } else if (one.kind === 'begin' && !underWay) {
          underWay = true
          for (const write of writes) write.covered = true
          const want = [...new Set(writes.map(({ slice }) => slice))].sort()
          if (dirty.beginFlush(false).join() !== want.join()) return false
        } else if (one.kind === 'end' && underWay) {
          underWay = false
          if (one.done) writes = writes.filter(({ covered }) => !covered)
          dirty.finishFlush(one.done ? new Uint32Array(slices).fill(30) : null)
        }
        for (let slice = 0; slice < slices; slice++) {
          const epochs = writes.filter(write => write.slice === slice).map(({ epoch }) => epoch)
          if (dirty.oldestEpoch(slice) !== Math.min(cleanEpoch, ...epochs)) return false
        }
        if (dirty.isClean !== (writes.length === 0)) return false
      }
      return true
    }),
  )
})

t.test('what is noted below is unflushed at once, and covered by the next flush', async t => {
  const dirty = fresh()
  dirty.mayBeNotedBelow(2)
  t.ok(dirty.isClean, 'nothing is noted yet')
  noteBelow(dirty, 2, 7)
  t.same([dirty.isClean, dirty.oldestEpoch(2), dirty.oldestEpoch(1)], [false, 7, cleanEpoch])
  dirty.note(2, 8)
  dirty.note(0, 5)
  t.same(dirty.beginFlush(false), [0, 2])
  t.equal(dirty.below[2], cleanEpoch, 'it is taken over')
  t.same([dirty.oldestEpoch(2), dirty.hasLost(2, 8), dirty.hasLost(2, 7)], [7, true, false])
  dirty.finishFlush(new Uint32Array(slices).fill(9))
  t.same([dirty.isClean, dirty.oldestEpoch(2)], [true, cleanEpoch])
  t.same(dirty.beginFlush(false), [])
})

t.test('what is noted below while a flush is under way is covered by the one after it', async t => {
  for (const isDone of [true, false]) {
    const dirty = fresh()
    noteBelow(dirty, 1, 7)
    noteBelow(dirty, 2, 7)
    t.same(dirty.beginFlush(false), [1, 2])
    noteBelow(dirty, 1, 8)
    noteBelow(dirty, 3, 9)
    dirty.sliceFlushed(1, 8)
    t.equal(dirty.oldestEpoch(1), 8)
    dirty.finishFlush(isDone ? new Uint32Array(slices).fill(9) : null)
    t.notOk(dirty.isClean)
    t.same(
      [1, 2, 3].map(slice => dirty.oldestEpoch(slice)),
      isDone ? [8, cleanEpoch, 9] : [8, 7, 9],
    )
    t.same(dirty.beginFlush(false), isDone ? [1, 3] : [1, 2, 3])
    dirty.finishFlush(new Uint32Array(slices).fill(9))
    t.ok(dirty.isClean)
  }
})

t.test('what is noted below while a loss is reported is not taken for what was told of', async t => {
  const dirty = fresh()
  noteBelow(dirty, 1, 7)
  dirty.beginFlush(false)
  noteBelow(dirty, 1, 6)
  dirty.reportLosses(new Uint32Array(slices).fill(8))
  t.equal(dirty.oldestEpoch(1), 6)
  dirty.beginFlush(false)
  t.ok(dirty.hasLost(1, 8))
})

t.test('a flush of everything covers what is noted below, too, with its own epoch', async t => {
  const dirty = fresh()
  noteBelow(dirty, 2, 0)
  t.same(dirty.beginFlush(true), [0, 1, 2, 3])
  t.same(
    [1, 2].map(slice => dirty.hasLost(slice, 1)),
    [false, true],
  )
  dirty.finishFlush(new Uint32Array(slices).fill(1))
  t.ok(dirty.isClean)
})

t.test('flush file: what is written is read back by a process of the same boot', async t => {
  const dirty = fresh()
  dirty.note(2, 7)
  const image = imageOf(dirty, owner)
  t.equal(image.readUInt32BE(dirtyCellAt(slices, 2)), 7)
  const { found, flushedEpochs, dirtyEpochs } = readFlushImage(image, owner)
  t.same(
    [found, [...flushedEpochs], [...dirtyEpochs]],
    ['this boot', [1, 1, 1, 1], [cleanEpoch, cleanEpoch, 7, cleanEpoch]],
  )
})

t.test('flush file: a cell may be more cautious than the notes in memory', async t => {
  const dirty = fresh()
  dirty.note(2, 7)
  const { dirtyEpochs } = readFlushImage(
    flushImageOf(dirty, Uint32Array.of(cleanEpoch, 3, 5, cleanEpoch), owner),
    owner,
  )
  t.same([...dirtyEpochs], [cleanEpoch, 3, 5, cleanEpoch])
})

t.test('flush file: of another boot, every slice counts as written since its last flush', async t => {
  const dirty = fresh()
  dirty.note(2, 7)
  const { found, dirtyEpochs } = readFlushImage(imageOf(dirty, owner), { ...owner, bootId: 'another' })
  t.same([found, [...dirtyEpochs]], ['other boot', [1, 1, 1, 1]])
})

t.test(
  'flush file: of another boot with which all clients ended, all is to be flushed, and no loss is told',
  async t => {
    const dirty = fresh()
    dirty.note(2, 7)
    const image = imageOf(dirty, { ...owner, hasOutliving: false })
    const { dirtyEpochs, flushedEpochs, hasOutliving } = readFlushImage(image, { ...owner, bootId: 'another' })
    t.same([hasOutliving, [...flushedEpochs]], [false, [9, 9, 9, 9]])
    const next = new DirtySlices({ dirtyEpochs, flushedEpochs })
    next.note(1, 12)
    t.same(next.beginFlush(false), [0, 1, 2, 3])
    t.same(
      [0, 1, 2].map(slice => next.hasLost(slice, 13)),
      [false, true, false],
      'only what this boot wrote can be lost to anybody',
    )
  },
)

t.test('flush file: clients that may outlive the boot are never forgotten', async t => {
  const alone = imageOf(fresh(), { ...owner, hasOutliving: false })
  const older = Buffer.from(alone)
  older.writeUInt32BE(1, 8)
  const next = { ...owner, bootId: 'another' }
  t.equal(readFlushImage(alone, owner).hasOutliving, false)
  for (const [image, reader] of [
    [older, next],
    [alone, { ...next, isShared: true }],
    [imageOf(fresh(), owner), next],
  ] as const) {
    const { hasOutliving, dirtyEpochs } = readFlushImage(image, reader)
    t.same([hasOutliving, [...dirtyEpochs]], [true, [1, 1, 1, 1]])
  }
})

t.test('flush file: none, or another mapping’s, means that nothing was written', async t => {
  const dirty = fresh()
  dirty.note(2, 7)
  for (const image of [null, imageOf(dirty, { ...owner, mapping: 40 })]) {
    const { found, flushedEpochs, dirtyEpochs } = readFlushImage(image, owner)
    t.same([found, flushedEpochs[0], dirtyEpochs[2]], ['none', 9, cleanEpoch])
  }
})

t.test('flush file: of no sense, every slice counts as written since ever', async t => {
  const image = imageOf(fresh(), owner)
  const wrongMagic = Buffer.from(image)
  wrongMagic[0] = 0
  for (const bytes of [Buffer.alloc(0), image.subarray(0, 100), wrongMagic, Buffer.concat([image, Buffer.alloc(1)])]) {
    const { found, dirtyEpochs } = readFlushImage(bytes, owner)
    t.same([found, [...dirtyEpochs]], ['damaged', [0, 0, 0, 0]])
  }
})
