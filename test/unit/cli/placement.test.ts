import t from 'tap'
import { placementFaults, slicesToCheck } from '../../../src/cli/check/placement.js'
import { type ClusterMap, emptyMap, type SliceRecord } from '../../../src/model/index.js'

/** A pool whose slices are on devices a1 and a2 (fault set fa), and b1 (fault set fb), c1 (an SDS without one). */
function mapWith(records: Partial<SliceRecord>[]): ClusterMap {
  const map = emptyMap()
  const put = (table: 'pools' | 'faultSets' | 'sdss' | 'devices', value: { id: string }) =>
    (map.tables[table] as Map<string, unknown>).set(value.id, value)
  put('pools', { id: 'p', name: 'pool1' } as never)
  for (const name of ['fa', 'fb']) put('faultSets', { id: name, name: `name of ${name}` } as never)
  for (const [sds, faultSetId] of [
    ['a1', 'fa'],
    ['a2', 'fa'],
    ['b1', 'fb'],
    ['c1', null],
  ]) {
    put('sdss', { id: `sds-${sds}`, name: `sds-${sds}`, faultSetId } as never)
    put('devices', { id: sds, sdsId: `sds-${sds}` } as never)
  }
  const filled = records.map((record, slice) => ({ slice, epoch: 1, joining: null, lossEpoch: 0, ...record }))
  map.slices.set('p' as never, filled as SliceRecord[])
  return map
}
const copies = (primary: string, secondary: string | null, joining: string | null = null) =>
  ({ primary, secondary, joining }) as Partial<SliceRecord>

t.test('placement: copies in different fault sets, or on an SDS without one, are right', async t => {
  const map = mapWith([copies('a1', 'b1'), copies('c1', 'a2'), copies('b1', 'c1')])
  t.same(placementFaults(map), [])
  t.equal(slicesToCheck(map).length, 3)
})

t.test('placement: two SDSs of one fault set, one copy, or an unknown device are faults', async t => {
  const map = mapWith([copies('a1', 'a2'), copies('a1', null), copies('a1', null, 'b1'), copies('a1', 'gone')])
  t.match(placementFaults(map), [
    { slice: 0, kind: 'together', what: /fault unit name of fa/ },
    { slice: 1, kind: 'missing', what: /has one copy$/ },
    { slice: 2, kind: 'missing', what: /another one is being filled/ },
    { slice: 3, kind: 'unknown', what: /gone/ },
  ])
})
