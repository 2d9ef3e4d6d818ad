import t from 'tap'
import { chunkKey, type DeviceId } from '../../../../src/base/ids.js'
import { unexplainedChunks } from '../../../../src/core/sds/fill-check.js'
import { marksBySecondary, mayClearMarks, stillIdle, strayMarks } from '../../../../src/core/sds/mark-clearing.js'
import { foreignSlices } from '../../../../src/core/sds/prune.js'
import type { SliceRecord } from '../../../../src/model/index.js'

const [p, s, x, y] = ['aa', 'bb', 'cc', 'dd'] as unknown as [DeviceId, DeviceId, DeviceId, DeviceId]
const record = (fields: Partial<SliceRecord> = {}): SliceRecord => ({
  slice: 0,
  epoch: 7,
  primary: p,
  secondary: s,
  joining: null,
  lossEpoch: 0,
  ...fields,
})

t.test('marks: cleared by the primary alone, with two copies in sync and none joining', async t => {
  t.ok(mayClearMarks(record(), p))
  t.notOk(mayClearMarks(record(), s), 'the secondary')
  t.notOk(mayClearMarks(record({ secondary: null, left: s }), p), 'while a copy is away')
  t.notOk(mayClearMarks(record({ secondary: null, left: s, joining: s }), p), 'while it joins')
  t.notOk(mayClearMarks(record({ joining: x }), p), 'while a third copy joins')
  t.notOk(mayClearMarks(undefined, p))
})

t.test('marks: one stays if its chunk was touched since it was chosen, or is about to be', async t => {
  const marks = [1, 2, 3, 4].map(chunk => ({ volume: 9, chunk, touch: chunk * 10 }))
  const touches = new Map<number, number | null>([
    [1, 10],
    [2, 21],
    [3, null],
    [4, 40],
  ])
  const idle = stillIdle(marks, (_, chunk) => touches.get(chunk)!, new Set([chunkKey(9, 4)]))
  t.same(
    idle.map(({ chunk }) => chunk),
    [1],
  )
})

t.test('marks: those that the other copy alone has go, unless a change is on its way here', async t => {
  const theirs = [1, 2, 3, 4].map(chunk => ({ volume: 9, chunk }))
  const touches: (number | null)[] = [0, 0, 5, null, 0]
  const strays = strayMarks(theirs, (_, chunk) => touches[chunk]!, new Set([chunkKey(9, 4)]))
  t.same(strays, [{ volume: 9, chunk: 1 }])
})

t.test('marks: one sync is asked of each copy, whatever the number of slices', async t => {
  const records = [record(), record({ slice: 1 }), record({ slice: 2, secondary: x })]
  const marks = [0, 1, 2, 0, 1].map((chunk, i) => ({ volume: 9, chunk: chunk + 3 * i, touch: 1 }))
  const groups = marksBySecondary(marks, ({ chunk }) => ({ pool: 4, record: records[chunk % 3]! }))
  t.same([...groups.keys()], [s, x])
  t.same(
    groups.get(s)!.map(({ record, marks }) => [record.slice, marks.length]),
    [
      [0, 2],
      [1, 2],
    ],
  )
})

t.test('fill check: chunks that one side alone has are found, those that are being changed are not', async t => {
  const witness = { isBusy: (key: number) => key === 3, isTouched: (key: number) => key === 4 }
  t.same(unexplainedChunks([1, 2], [2, 1], witness), [])
  t.same(unexplainedChunks([1, 2, 3], [1, 4], witness), [2])
  t.same(unexplainedChunks([1], [1, 5], witness), [5])
})

t.test('prune: only slices with two copies in sync that do not name the device in any way', async t => {
  const records = [
    record({ slice: 0 }),
    record({ slice: 1, left: y }),
    record({ slice: 2, joining: y }),
    record({ slice: 3, secondary: null }),
    record({ slice: 4, secondary: null, joining: x }),
    record({ slice: 5, primary: y }),
    record({ slice: 6, secondary: y }),
    record({ slice: 7, left: x }),
  ]
  t.same([...foreignSlices(records, y, 7)], [0, 7])
  t.same([...foreignSlices(records, y, 7, 1)], [7, 0], 'from any slice on, all round')
  t.same([...foreignSlices(records, y, 8)], [], 'a map older than what the device has adopted decides nothing')
})
