import t from 'tap'
import { startLocalCluster, until } from '../support/local-cluster.js'
import { healthy, reportOf, sleep } from './failures.js'
import { ChangeLoop, clusterOf, LoadLoop, median, nameOfMaster, rounds, signalNow, untilNormal } from './mdm-cluster.js'

t.setTimeout(1_800_000)

/** The MDMs decide nothing that I/O waits for: what is left is the host's own noise. */
const pauseMsMax = 5_000
const failOverMsMax = 2_000

t.test('MDM cluster: any one of three members may be lost', { timeout: 1_800_000 }, async t => {
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
      signalNow(cluster, [master], 'SIGKILL')
      await changes.goesOn()
      pausesMs.push(changes.pauseMsSince(beganMs))
      await cluster.local('start', master)
      await untilNormal(cluster)
    }
    const list = pausesMs.map(ms => ms.toFixed(0)).join(', ')
    t.ok(median(pausesMs) < failOverMsMax, `changes waited for ${list} ms`)
  })

  await t.test('the others are killed, and the master stands still: changes go on', { timeout: 600_000 }, async () => {
    const master = await nameOfMaster(cluster)
    const troubles = [
      ...names.filter(name => name !== master).map(name => [name, 'SIGKILL', 'start'] as const),
      [master, 'SIGSTOP', 'cont'] as const,
    ]
    for (const [name, signal, begin] of troubles) {
      signalNow(cluster, [name], signal)
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
    signalNow(cluster, [master], 'SIGKILL')
    await cluster.local('start', 'sds-1')
    await cluster.local('start', master)
    await healthy(cluster)
    await untilNormal(cluster)
  })

  await t.test('every acknowledged change is there once, and fio has seen nothing', { timeout: 300_000 }, async t => {
    await load.end(t, pauseMsMax)
    await changes.end(t)
  })

  await cluster.check()
})
