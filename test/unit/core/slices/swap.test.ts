import t from 'tap'
import type { DeviceId } from '../../../../src/base/ids.js'
import { checkTransition, swappedRecords, swapsWhere } from '../../../../src/core/slices/index.js'
import type { SliceRecord } from '../../../../src/model/index.js'

const [A, B, C] = ['a', 'b', 'c'] as DeviceId[] as [DeviceId, DeviceId, DeviceId]
const record = (slice: number, fields: Partial<SliceRecord> = {}): SliceRecord => ({
  slice,
  epoch: 5,
  primary: A,
  secondary: B,
  joining: null,
  lossEpoch: 0,
  ...fields,
})

t.test('swaps: only two copies in sync, with no third one being filled, exchange their roles', async t => {
  const records = [record(0), record(1, { secondary: null }), record(2, { joining: C }), record(3, { primary: C })]
  t.same(
    swapsWhere(records, primary => primary === A),
    [{ primary: A, slice: 0, epoch: 5 }],
  )
})

t.test('swaps: the roles change and nothing else, above every epoch so far', async t => {
  const records = [record(0), record(1, { lossEpoch: 3 })]
  const changes = swappedRecords(
    records,
    swapsWhere(records, () => true),
    8,
  )
  t.same(changes, [
    { replaces: 5, record: record(0, { primary: B, secondary: A, epoch: 9 }) },
    { replaces: 5, record: record(1, { primary: B, secondary: A, epoch: 9, lossEpoch: 3 }) },
  ])
  for (const { record } of changes) checkTransition(records[record.slice]!, record)
})

t.test('swaps: void where the record has moved on since', async t => {
  const swaps = swapsWhere([record(0), record(1), record(2)], () => true)
  const now = [record(0, { epoch: 6 }), record(1, { secondary: null }), record(2, { joining: C })]
  t.same(swappedRecords(now, swaps, 0), [])
})
