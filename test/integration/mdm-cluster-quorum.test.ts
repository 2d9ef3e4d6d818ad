import t from 'tap'
import { addressOfCluster } from '../../src/cli/local/cluster-file.js'
import { withMdm } from '../../src/cli/mdm-session.js'
import { startLocalCluster, until } from '../support/local-cluster.js'
import { healthy, reportOf, sleep, writeAndVerify } from './failures.js'
import { type clusterOf, signalNow, untilNormal } from './mdm-cluster.js'

t.setTimeout(1_800_000)

/** The MDMs decide nothing that I/O waits for: what is left is the host's own noise. */
const pauseMsMax = 5_000
const names = ['mdm-1', 'mdm-2', 'mdm-3']

t.test('MDM cluster: without a majority nothing is changed, and I/O goes on', { timeout: 1_800_000 }, async t => {
  const cluster = await startLocalCluster(t, '--mdms', '3', '--volume', 'vol1:8G')

  await t.test('one of three is left: it changes nothing, and says why', { timeout: 120_000 }, async t => {
    signalNow(cluster, ['mdm-1', 'mdm-3'], 'SIGKILL')
    const change = withMdm({ ...addressOfCluster(cluster.dir), connectTimeoutMs: 4_000 }, mdm =>
      mdm.request('addProtectionDomain', { name: 'minority' }, { timeoutMs: 4_000 }),
    )
    await t.rejects(change, { code: 'UNREACHABLE', message: /no majority/ })
    const { state, mdms } = (await cluster.scli('--query_cluster')) as Awaited<ReturnType<typeof clusterOf>>
    t.equal(state, 'Error')
    t.same(mdms.map(({ name, status }) => `${name} ${status}`).sort(), [
      'mdm-1 Disconnected',
      'mdm-2 Not synchronized',
      'mdm-3 Disconnected',
    ])
    const status = JSON.parse(await cluster.local('status', '--json')) as { healthy: boolean; problems: string[] }
    t.match(status, { healthy: false, mdmCluster: { state: 'Error', master: null } })
    for (const name of ['mdm-1', 'mdm-3']) await cluster.local('start', name)
    await untilNormal(cluster)
    const { protectionDomains } = await reportOf(cluster)
    t.notOk(protectionDomains.some(({ name }) => name === 'minority'))
  })

  await t.test('all MDMs are away: I/O goes on, and waits only for a data server', { timeout: 600_000 }, async t => {
    const awayMs = process.env.MDM_ROUNDS === undefined ? 15_000 : 60_000
    const before = writeAndVerify(cluster.volume('vol1').uri)
    before.catch(() => {})
    signalNow(cluster, names, 'SIGKILL')
    await sleep(awayMs)
    const { read, write } = await before
    const pauseMs = Math.max(read.clat_ns.max, write.clat_ns.max) / 1e6
    t.ok(pauseMs < pauseMsMax, `no error, and the longest pause is ${pauseMs.toFixed(0)} ms`)

    let isDone = false
    const after = writeAndVerify(cluster.volume('vol1').uri).then(job => {
      isDone = true
      return job
    })
    after.catch(() => {})
    await sleep(2_000)
    signalNow(cluster, ['sds-2'], 'SIGKILL')
    await sleep(13_000)
    t.notOk(isDone, 'I/O to the slices of the server that died waits')
    for (const name of names) await cluster.local('start', name)
    t.equal((await after).error, 0, 'then it goes on')
    await cluster.local('start', 'sds-2')
    await untilNormal(cluster)
    await healthy(cluster)
  })

  await until('it is healthy as a whole', 60_000, async () => {
    const status = JSON.parse(await cluster.local('status', '--json')) as { healthy: boolean }
    return status.healthy
  })
  await cluster.check()
})
