import t from 'tap'
import { ChunkTable, IdleMarks, touchAfter, touchAtOpening, VolumeMarks } from '../../../../src/core/store/index.js'

const all = () => true

t.test('touches: each is higher than the one before, and says when it was', async t => {
  t.equal(touchAfter(5, 2 ** 40), 2 ** 40)
  let last = 2 ** 40
  for (let times = 0; times < 100; times++) {
    const next = touchAfter(last, 2 ** 40)
    t.ok(next > last && next < 2 ** 40 + 1)
    last = next
  }
})

t.test('marks: those of a slice are listed in order, however sparse the volume, and go without a trace', async t => {
  const marks = new VolumeMarks()
  const chunks = [5, 0, 255, 256, 1029, 1_000_005, 2 ** 30 - 1]
  for (const chunk of chunks) marks.set(chunk, touchAtOpening)
  marks.set(5, 7)
  t.equal(marks.count, 7, 'twice marked is marked once')
  t.same(marks.markedChunks(0, 2 ** 30, 1), [0, 5, 255, 256, 1029, 1_000_005, 2 ** 30 - 1])
  t.same(marks.markedChunks(5, 2 ** 30, 1024), [5, 1029])
  for (const chunk of chunks) marks.clear(chunk)
  marks.clear(3)
  t.equal(marks.count, 0)
  t.same([...marks.chunks()], [])
})

t.test(
  'marks: changing a chunk that has none, or clearing it while it is changed, is a bug that stops the daemon',
  async t => {
    const marks = new VolumeMarks()
    t.throws(() => marks.beginChange(3, 5), /durably marked before it is changed/)
    marks.set(3, 5)
    t.throws(() => marks.beginChange(4, 6), /durably marked/)
    marks.beginChange(3, 6)
    marks.beginChange(3, 7)
    marks.endChange(3)
    t.equal(marks.touchOf(3), null)
    t.throws(() => marks.clear(3), /stays while its chunk is being changed/)
    marks.endChange(3)
    t.equal(marks.touchOf(3), 7)
    marks.clear(3)
    t.equal(marks.touchOf(3), 0)
  },
)

t.test('idle: each call goes on where the last one ended, and none comes twice', async t => {
  const table = new ChunkTable()
  for (let chunk = 0; chunk < 1000; chunk += 10) table.open(1 + (chunk % 3)).marks.set(chunk, 100)
  table.open(1).marks.set(1, 200)
  table.open(1).marks.beginChange(0, 101)
  const idle = new IdleMarks(table)
  t.same(idle.next(99, 1000, all), [], 'too young')
  const found = [1, 2, 3, 4].flatMap(() => idle.next(150, 24, all))
  t.equal(found.length, 96)
  found.push(...idle.next(150, 3, all))
  t.equal(new Set(found.map(({ volume, chunk }) => `${volume}/${chunk}`)).size, 99, 'all but the one being changed')
  t.equal(idle.next(1000, 1000, all).length, 100)
  t.same(
    idle.next(1000, 1000, (volume, chunk) => volume === 1 && chunk === 1),
    [{ volume: 1, chunk: 1, touch: 200 }],
  )
  table.open(1).dropping = true
  idle.next(1000, 1000, all)
  const others = idle.next(1000, 1000, all)
  t.equal(others.filter(({ volume }) => volume === 1).length, 0, 'a volume that is being dropped is left alone')
  t.equal(others.length, table.markedCount)
})

t.test('idle: those that nobody wants do not keep the others from being found, however many they are', async t => {
  const table = new ChunkTable()
  for (let chunk = 0; chunk < 50_000; chunk++) table.open(1).marks.set(chunk, 100)
  table.open(2).marks.set(7, 100)
  const idle = new IdleMarks(table)
  const found = [1, 2, 3, 4].flatMap(() => idle.next(150, 10, volume => volume === 2))
  t.same(found, [{ volume: 2, chunk: 7, touch: 100 }], 'within a few calls')
})

t.test('volumes: one with nothing but a mark is listed, so that it can be dropped', async t => {
  const table = new ChunkTable()
  table.open(4).marks.set(1, 5)
  t.same(table.volumes(), [4])
  t.equal(table.markedCount, 1)
})
