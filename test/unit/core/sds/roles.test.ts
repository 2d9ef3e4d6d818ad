import t from 'tap'
import type { PoolId, ProtectionDomainId, VolumeId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { SdsView } from '../../../../src/core/sds/index.js'
import { applyDelta, emptyMap, type MapDelta } from '../../../../src/model/index.js'

const poolId = '0000000000000002' as PoolId
const protectionDomainId = '0000000000000001' as ProtectionDomainId

t.test('roles: the volumes of a pool are found also by who took its view before a table changed', async t => {
  const map = emptyMap()
  const view = new SdsView()
  const commit = (delta: MapDelta) => {
    applyDelta(map, delta)
    view.refresh(map, [delta])
  }
  commit({
    version: 1,
    changes: [
      {
        kind: 'put',
        table: 'pools',
        value: {
          id: poolId,
          name: 'p',
          protectionDomainId,
          zeroPadding: true,
          sparePercent: null,
          sliceCount: 8,
          limitPolicy: null,
        },
      },
      {
        kind: 'put',
        table: 'volumes',
        value: {
          id: '0000000000000003' as VolumeId,
          name: 'v',
          poolId,
          sizeBytes: 8 * GiB,
          type: 'thin',
          sliceOffset: 0,
        },
      },
    ],
  })
  const before = view.pools.get(2)!
  commit({
    version: 2,
    changes: [{ kind: 'put', table: 'protectionDomains', value: { id: protectionDomainId, name: 'pd' } }],
  })
  t.same(
    view.volumesOf(before).map(volume => volume.number),
    [3],
  )
})
