import t from 'tap'
import {
  ChunkTable,
  chunkIndexKey,
  chunkValue,
  filledEntry,
  fillingEntry,
  isMapped,
  isThick,
  mappedEntry,
  parseChunk,
  parseDistrusted,
  reservedEntry,
  slotCountMax,
  slotOf,
} from '../../../../src/core/store/index.js'

t.test('entries: a slot, its kind and its state are told apart, up to the last slot', async t => {
  for (const slot of [0, 1, slotCountMax - 1])
    for (const kind of ['thin', 'thick'] as const) {
      const reserved = reservedEntry(slot, kind)
      t.notOk(isMapped(reserved))
      t.notOk(isMapped(fillingEntry(reserved)))
      t.equal(filledEntry(fillingEntry(reserved)), mappedEntry(slot, kind))
      t.ok(isMapped(mappedEntry(slot, kind)))
      t.equal(slotOf(mappedEntry(slot, kind)), slot)
      t.equal(isThick(mappedEntry(slot, kind)), kind === 'thick')
    }
  t.notOk(isMapped(0))
})

t.test('chunks: those of a slice are listed in order, however sparse the volume', async t => {
  const table = new ChunkTable()
  const chunks = table.open(7)
  const all = [0, 5, 1023, 1024, 1029, 4101, 1_000_005, 2 ** 30 - 1]
  all.forEach((chunk, slot) => {
    chunks.set(chunk, mappedEntry(slot, 'thin'))
  })
  chunks.set(2048, reservedEntry(99, 'thin'))
  t.same(chunks.mappedChunks(0, 2 ** 30, 1), all)
  t.same(chunks.mappedChunks(5, 2 ** 30, 1024), [5, 1029, 4101])
  t.same(chunks.mappedChunks(5, 4000, 8), [5, 1029])
  t.same(chunks.mappedChunks(0, 2048, 1), [0, 5, 1023, 1024, 1029])
  t.same(chunks.mappedChunks(1024, 1025, 1024), [1024])
})

t.test('chunks: every way of listing finds the same', async t => {
  const chunks = new ChunkTable().open(1)
  for (let chunk = 3; chunk < 20_000; chunk += 7) chunks.set(chunk, mappedEntry(chunk, 'thin'))
  for (const step of [1, 2, 16, 512, 1024, 4096])
    for (const first of [0, 3, 1000, 9999])
      for (const end of [10_000, 19_999, 2 ** 28]) {
        const plain: number[] = []
        for (let chunk = first; chunk < Math.min(end, 20_000); chunk += step)
          if (isMapped(chunks.get(chunk))) plain.push(chunk)
        t.same(chunks.mappedChunks(first, end, step), plain, `${first} to ${end} by ${step}`)
      }
})

t.test('volumes: those with a chunk in the index are listed', async t => {
  const table = new ChunkTable()
  table.open(9).set(1, mappedEntry(0, 'thin'))
  table.open(4).set(1, mappedEntry(1, 'thin'))
  table.open(5).set(1, reservedEntry(2, 'thin'))
  t.same(table.volumes(), [4, 9])
  table.find(9)!.set(1, 0)
  t.same(table.volumes(), [4])
})

t.test(
  'index: a chunk is read back as it was written; what is no chunk of the device is refused with its name',
  async t => {
    t.same(parseChunk(chunkIndexKey(3, 70), chunkValue(6, 'thick'), 7, 'd'), {
      volume: 3,
      chunk: 70,
      slot: 6,
      kind: 'thick',
    })
    t.throws(() => parseChunk(chunkIndexKey(3, 70), chunkValue(7, 'thin'), 7, 'd'), {
      code: 'DEVICE_DAMAGED',
      message: /chunk 70 of volume 3/,
    })
    for (const value of [-1, 1.5, '4', null, { slot: 1 }])
      t.throws(() => parseChunk(['chunk', 3, 70], value, 7, 'd'), { code: 'DEVICE_DAMAGED' })
    for (const key of [
      ['chunk', 3],
      ['chunk', 'x', 1],
      ['chunk', 1, -4],
      ['chunk', 1, 2, 3],
      ['chunk', 2 ** 40, 1],
    ])
      t.throws(() => parseChunk(key, 4, 7, 'd'), { code: 'DEVICE_DAMAGED' })
  },
)

t.test('index: a record of a clean stop that makes no sense is none', async t => {
  t.same(parseDistrusted([]), [])
  t.same(parseDistrusted([2, 3, 9, 1]), [
    { first: 2, count: 3 },
    { first: 9, count: 1 },
  ])
  for (const value of [undefined, true, [1], [slotCountMax, 1], [slotCountMax - 1, 2], [-1, 1], ['0', 1]])
    t.equal(parseDistrusted(value), null)
})
