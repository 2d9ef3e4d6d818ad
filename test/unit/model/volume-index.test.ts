import fc from 'fast-check'
import t from 'tap'
import type { PoolId, VolumeId } from '../../../src/base/ids.js'
import { applyChange, emptyMap, forgetVolumes, type Volume, volumeIndexOf } from '../../../src/model/index.js'

const volume = (id: number, name: string, pool: number, isThick: boolean): Volume => ({
  id: `v${id}` as VolumeId,
  name,
  poolId: `p${pool}` as PoolId,
  sizeBytes: (1 + id) * 8,
  type: isThick ? 'thick' : 'thin',
  sliceOffset: 0,
})

t.test('volume index: after any changes it says what a look at all volumes would', async t => {
  const change = fc.tuple(fc.nat(5), fc.nat(3), fc.nat(1), fc.boolean(), fc.boolean())
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40 }), changes => {
      const map = emptyMap()
      volumeIndexOf(map.tables.volumes)
      for (const [id, name, pool, isThick, isDropped] of changes)
        if (isDropped) applyChange(map, { kind: 'drop', table: 'volumes', id: `v${id}` })
        else {
          // Names are unique, as the deciders see to.
          const value = volume(id, `name-${id}-${name}`, pool, isThick)
          applyChange(map, { kind: 'put', table: 'volumes', value })
        }
      const kept = volumeIndexOf(map.tables.volumes)
      const fresh = volumeIndexOf(new Map(map.tables.volumes))
      t.same([kept.count, kept.bytes, kept.byName], [fresh.count, fresh.bytes, fresh.byName])
      for (const pool of ['p0', 'p1'] as PoolId[]) {
        const none = { count: 0, thickBytes: 0, thinBytes: 0 }
        t.same(kept.pools.get(pool) ?? none, fresh.pools.get(pool) ?? none)
      }
    }),
    { numRuns: 100 },
  )
})

t.test('volume index: a table that is filled anew is counted anew; one changed behind its back is noticed', async t => {
  const map = emptyMap()
  applyChange(map, { kind: 'put', table: 'volumes', value: volume(1, 'a', 0, true) })
  t.equal(volumeIndexOf(map.tables.volumes).count, 1)
  map.tables.volumes.clear()
  t.throws(() => volumeIndexOf(map.tables.volumes), /changes of the map alone/)
  forgetVolumes(map.tables.volumes)
  t.equal(volumeIndexOf(map.tables.volumes).count, 0)
})
