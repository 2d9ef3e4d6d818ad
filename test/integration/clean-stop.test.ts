import t from 'tap'
import { startLocalCluster } from '../support/local-cluster.js'
import { mapOf, sleep, survives } from './failures.js'

t.setTimeout(400_000)

/** What is done on purpose holds applications up for less than what happens to them. */
const pauseMs = 2_000

t.test('what administrators do to an SDS that leads slices', { timeout: 400_000 }, async t => {
  const cluster = await startLocalCluster(t, '--sdss', '3', '--fault-sets', '3', '--volume', 'vol1:8G')
  const leads = async (sds: string) => {
    const { tables, slices } = await mapOf(cluster)
    const isOn = (id: string) => tables.sdss.get(tables.devices.get(id)!.sdsId)!.name === sds
    return [...slices.values()].flat().filter(({ primary }) => isOn(primary)).length
  }

  await survives(
    t,
    cluster,
    'an SDS is told to stop, hands its roles over, and starts again',
    async () => {
      t.ok((await leads('sds-1')) > 0)
      await cluster.local('terminate', 'sds-1')
      t.equal(await leads('sds-1'), 0)
      await sleep(3_000)
      await cluster.local('start', 'sds-1')
    },
    { pauseMs },
  )
  await survives(
    t,
    cluster,
    'an SDS enters maintenance, and comes back',
    async () => {
      await cluster.scli('--enter_maintenance_mode', '--sds_name', 'sds-2', '--i_am_sure')
      t.equal(await leads('sds-2'), 0)
      await sleep(3_000)
      await cluster.scli('--exit_maintenance_mode', '--sds_name', 'sds-2', '--i_am_sure')
    },
    { pauseMs },
  )
  await cluster.check()
})
