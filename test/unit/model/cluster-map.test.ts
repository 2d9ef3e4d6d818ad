import t from 'tap'
import type { PoolId } from '../../../src/base/ids.js'
import { applyDelta, emptyMap, type MapDelta, wholeMap } from '../../../src/model/index.js'

const poolId = '0000000000000002' as PoolId
const record = (slice: number, epoch: number) => ({
  slice,
  epoch,
  primary: 'a' as never,
  secondary: 'b' as never,
  joining: null,
  lossEpoch: 0,
})
const deltas: MapDelta[] = [
  { version: 1, changes: [{ kind: 'put', table: 'systems', value: { id: '0000000000000001' as never, name: 's' } }] },
  { version: 2, changes: [{ kind: 'slices', poolId, slices: [record(0, 1), record(1, 1)] }] },
  { version: 3, changes: [] },
  { version: 4, changes: [{ kind: 'slices', poolId, slices: [record(1, 2)] }] },
]

t.test('map: the whole map as one delta makes the same map as all deltas in order', async t => {
  const one = emptyMap()
  for (const delta of deltas) applyDelta(one, delta)
  const other = emptyMap()
  applyDelta(other, wholeMap(one))
  t.same(other, one)
  t.equal(one.slices.get(poolId)![1]!.epoch, 2)
})

t.test('map: changes are applied in log order only', async t => {
  const map = emptyMap()
  applyDelta(map, deltas[1]!)
  t.throws(() => applyDelta(map, deltas[0]!))
})
