import t from 'tap'
import type { DeviceId, PoolId } from '../../../../src/base/ids.js'
import { PrimaryHistory, sliceKey } from '../../../../src/core/sds/index.js'
import { applyDelta, emptyMap, type MapDelta, type SliceRecord } from '../../../../src/model/index.js'

const poolId = '5eed00000000000a' as PoolId
const [ours, theirs, third] = ['a', 'b', 'c'] as DeviceId[] as [DeviceId, DeviceId, DeviceId]
const key = sliceKey(10, 0)

function delta(version: number, primary: DeviceId, fields: Partial<SliceRecord> = {}): MapDelta {
  const record = { slice: 0, epoch: version, primary, secondary: null, joining: null, lossEpoch: 0, ...fields }
  return { version, changes: [{ kind: 'slices', poolId, slices: [record] }] }
}

const history = () => new PrimaryHistory(deviceId => deviceId === ours)

t.test('history: a first record promotes nobody, a change of the primary does', async t => {
  const past = history()
  t.same(past.take(delta(1, ours)), { promotions: [], hasResigned: false })
  t.same(past.take(delta(2, ours, { secondary: theirs })), { promotions: [], hasResigned: false })
  t.notOk(past.wasAwaySince(key, 1))
  t.same(past.take(delta(3, theirs)), { promotions: [], hasResigned: true })
  t.same(past.take(delta(4, third)), { promotions: [], hasResigned: false })
  t.same(past.take(delta(5, ours)), {
    promotions: [{ key, epoch: 5, version: 5, from: third }],
    hasResigned: false,
  })
  t.ok(past.wasAwaySince(key, 2))
  t.notOk(past.wasAwaySince(key, 5))
})

t.test('history: a whole map leaves open who led before, except where the epoch is the same', async t => {
  const past = history()
  past.take(delta(1, ours))
  const map = emptyMap()
  applyDelta(map, delta(1, ours))
  t.same(past.replace(map).promotions, [])
  applyDelta(map, delta(7, ours))
  t.same(past.replace(map).promotions, [{ key, epoch: 7, version: 7, from: null }])
  t.ok(past.wasAwaySince(key, 1))
})

t.test('history: a pool that loses its slices loses its past', async t => {
  const past = history()
  past.take(delta(1, theirs))
  past.take({ version: 2, changes: [{ kind: 'dropSlices', poolId }] })
  t.same(past.take(delta(3, ours)).promotions, [])
})
