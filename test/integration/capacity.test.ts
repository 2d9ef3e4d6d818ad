import t from 'tap'
import { startLocalCluster } from '../support/local-cluster.js'

interface Query {
  pools: { capacity: Record<string, number> }[]
  volumes: { name: string }[]
}
const GiB = 2 ** 30

t.test(
  'capacity: of 4 equal fault sets a quarter is spare, half of the rest usable, and not one volume more fits',
  async t => {
    const cluster = await startLocalCluster(t, '--sdss', '4', '--fault-sets', '4', '--device-size', '16G')
    const query = async () => (await cluster.scli('--query_all')) as Query
    const add = (name: string, ...more: string[]) =>
      cluster.scli(
        '--add_volume',
        '--protection_domain_name',
        'pd1',
        '--storage_pool_name',
        'pool1',
        '--volume_name',
        name,
        ...more,
      )

    const empty = (await query()).pools[0]!.capacity
    t.match(empty, { rawBytes: 64 * GiB, spareBytes: 16 * GiB, usableBytes: 24 * GiB, freeForVolumesBytes: 24 * GiB })
    for (const name of ['one', 'two', 'three']) await add(name, '--size_gb', '8', '--thick_provisioned')
    t.match((await query()).pools[0]!.capacity, { thickReservedBytes: 24 * GiB, freeForVolumesBytes: 0 })
    await t.rejects(add('four', '--size_gb', '8', '--thick_provisioned'), /spare|capacity/i, 'it would eat the spare')
    t.same((await query()).volumes.map(volume => volume.name).sort(), ['one', 'three', 'two'], 'nothing has changed')
  },
)
