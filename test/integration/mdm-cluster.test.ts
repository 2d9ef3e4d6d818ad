import t from 'tap'
import { addressOfCluster } from '../../src/cli/local/cluster-file.js'
import { withMdm } from '../../src/cli/mdm-session.js'
import { startLocalCluster, until } from '../support/local-cluster.js'
import { healthy, reportOf, sleep, writeAndVerify } from './failures.js'
import { ChangeLoop, clusterOf, killNow, LoadLoop, median, nameOfMaster, rounds, untilNormal } from './mdm-cluster.js'

t.setTimeout(1_800_000)

/** The MDMs decide nothing that I/O waits for: what is left is the host's own noise. */
const pauseMsMax = 5_000
const failOverMsMax = 2_000

t.test('MDM cluster: three members, and any one of them may be lost', { timeout: 1_800_000 }, async t => {
  const cluster = await startLocalCluster(t, '--mdms', '3', '--volume', 'vol1:8G')
  const names = ['mdm-1', 'mdm-2', 'mdm-3']

  await t.test('two managers and a tie breaker form it, and cluster.json lists them', async t => {
    const { mode, state, mdms } = await clusterOf(cluster)
    t.match({ mode, state }, { mode: 3, state: 'Normal' })
    t.same(mdms.map(({ name, role }) => `${name} ${role}`).sort(), ['mdm-1 Master', 'mdm-2 Slave', 'mdm-3 Tie Breaker'])
    t.same(
      cluster.file.processes.filter(({ role }) => role === 'mdm').map(({ name }) => name),
      names,
    )
  })

  const changes = new ChangeLoop(cluster)
  const load = new LoadLoop(cluster)
  await sleep(2_000)

  await t.test('the master is killed: there is a new one in under two seconds', { timeout: 600_000 }, async t => {
    const pausesMs: number[] = []
    for (let round = 0; round < rounds(3); round++) {
      const master = await nameOfMaster(cluster)
      const beganMs = performance.now()
      await cluster.local('kill', master)
      await changes.goesOn()
      pausesMs.push(changes.pauseMsSince(beganMs))
      await cluster.local('start', master)
      await untilNormal(cluster)
    }
    const list = pausesMs.map(ms => ms.toFixed(0)).join(', ')
    t.ok(median(pausesMs) < failOverMsMax, `changes waited for ${list} ms`)
  })

  await t.test('the others are killed, and the master stands still: changes go on', { timeout: 600_000 }, async () => {
    const troubles = [
      ...names.filter(name => name !== 'mdm-1').map(name => [name, 'kill', 'start'] as const),
      [await nameOfMaster(cluster), 'stop', 'cont'] as const,
    ]
    for (const [name, end, begin] of troubles) {
      await cluster.local(end, name)
      await changes.goesOn()
      await cluster.local(begin, name)
      await untilNormal(cluster)
    }
  })

  await t.test('a daemon that starts while the master is another one finds it', { timeout: 120_000 }, async () => {
    const master = await nameOfMaster(cluster)
    await cluster.local('terminate', 'sds-1')
    // Its copies leave, so that no write waits for them.
    await until('sds-1 is given up', 20_000, async () => (await reportOf(cluster)).pools[0]!.slices.degraded > 0)
    killNow(cluster, [master])
    await cluster.local('start', 'sds-1')
    await cluster.local('start', master)
    await healthy(cluster)
    await untilNormal(cluster)
  })

  await t.test('every acknowledged change is there once, and fio has seen nothing', { timeout: 300_000 }, async t => {
    await load.end(t, pauseMsMax)
    await changes.end(t)
  })

  await t.test('one of three is left: it changes nothing, and says why', { timeout: 120_000 }, async t => {
    await cluster.local('kill', 'mdm-1')
    await cluster.local('kill', 'mdm-3')
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
    killNow(cluster, names)
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
    await cluster.local('kill', 'sds-2')
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
