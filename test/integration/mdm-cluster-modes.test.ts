import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { startLocalCluster } from '../support/local-cluster.js'
import { sleep } from './failures.js'
import { ChangeLoop, clusterOf, LoadLoop, nameOfMaster, rounds, signalNow, untilNormal } from './mdm-cluster.js'

t.setTimeout(1_800_000)

const pauseMsMax = 5_000
const managers = ['mdm-1', 'mdm-2', 'mdm-3']
const names = [...managers, 'mdm-4', 'mdm-5']

/** All pairs, in an order that hits managers and tie breakers early. */
const pairs = [
  ['mdm-1', 'mdm-2'],
  ['mdm-3', 'mdm-4'],
  ['mdm-4', 'mdm-5'],
  ['mdm-2', 'mdm-5'],
  ['mdm-1', 'mdm-3'],
  ['mdm-2', 'mdm-3'],
  ['mdm-1', 'mdm-4'],
  ['mdm-1', 'mdm-5'],
  ['mdm-2', 'mdm-4'],
  ['mdm-3', 'mdm-5'],
] as const

t.test('MDM cluster: members come and go while applications go on', { timeout: 1_800_000 }, async t => {
  const cluster = await startLocalCluster(t, '--mdms', '5', '--volume', 'vol1:8G')
  const changes = new ChangeLoop(cluster)
  const load = new LoadLoop(cluster)
  await sleep(1_000)
  const roles = async () =>
    Object.fromEntries((await clusterOf(cluster)).mdms.map(({ name, role, kind }) => [name, { role, kind }]))
  const switchTo = async (mode: number, ...options: string[]) => {
    await cluster.scli('--switch_cluster_mode', '--cluster_mode', `${mode}_node`, ...options)
    await changes.goesOn()
    t.match(await clusterOf(cluster), { mode, state: 'Normal', active: { now: mode, max: mode } })
  }

  await t.test('any two of five are killed: changes go on', { timeout: 900_000 }, async () => {
    for (const pair of pairs.slice(0, rounds(3))) {
      signalNow(cluster, pair, 'SIGKILL')
      await changes.goesOn()
      for (const name of pair) await cluster.local('start', name)
      await untilNormal(cluster)
    }
  })
  await t.test('ownership is switched twenty times', { timeout: 600_000 }, async t => {
    for (let round = 0; round < 20; round++) {
      const name = managers[(managers.indexOf(await nameOfMaster(cluster)) + 1) % managers.length]!
      await cluster.scli('mdm', 'switch-ownership', '--name', name)
      t.equal(await nameOfMaster(cluster), name)
      await changes.goesOn()
    }
    await t.rejects(cluster.scli('mdm', 'switch-ownership', '--name', 'mdm-5'), { message: /only a manager/ })
  })

  await t.test('5, 1, 3, 5 and 3 members, online', { timeout: 600_000 }, async t => {
    await cluster.scli('mdm', 'switch-ownership', '--name', 'mdm-2')
    const others = ['--remove_slave_mdm_name', 'mdm-1,mdm-3', '--remove_tb_name', 'mdm-4,mdm-5']
    await switchTo(1, ...others)
    t.match(await roles(), { 'mdm-2': { role: 'Master' }, 'mdm-1': { role: 'Standby' }, 'mdm-4': { role: 'Standby' } })
    await switchTo(3, '--add_slave_mdm_name', 'mdm-1', '--add_tb_name', 'mdm-4')
    await switchTo(5, '--add_slave_mdm_name', 'mdm-3', '--add_tb_name', 'mdm-5')
    await switchTo(3, '--remove_slave_mdm_name', await nameOfMaster(cluster), '--remove_tb_name', 'mdm-4')
    await t.rejects(cluster.scli('--switch_cluster_mode', '--cluster_mode', '5_node', '--add_tb_name', 'mdm-4'), {
      message: /right numbers/,
    })
  })

  await t.test('a member that has lost its disk is replaced, in its own place', { timeout: 600_000 }, async t => {
    const before = await roles()
    const lost = names.find(name => before[name]?.role === 'Slave')!
    signalNow(cluster, [lost], 'SIGKILL')
    rmSync(join(cluster.dir, lost, 'state'), { recursive: true })
    await cluster.local('start', lost)
    await changes.goesOn()
    const { mdms } = await clusterOf(cluster)
    const { id, endpoint } = mdms.find(({ name }) => name === lost)!
    await cluster.scli(
      ...['--add_standby_mdm', '--new_mdm_name', 'again', '--mdm_role', 'manager'],
      ...['--new_mdm_ip', `${endpoint.host}:${endpoint.port}`],
    )
    await cluster.scli('--replace_cluster_mdm', '--add_slave_mdm_name', 'again', '--remove_slave_mdm_id', id)
    await cluster.scli('--remove_standby_mdm', '--remove_mdm_id', id, '--i_am_sure')
    await cluster.scli('--rename_mdm', '--mdm_name', 'again', '--new_name', lost)
    await changes.goesOn()
    t.match((await roles())[lost], { role: 'Slave' })
    await untilNormal(cluster)
  })

  await t.test('nothing is lost', { timeout: 300_000 }, async t => {
    await load.end(t, pauseMsMax)
    await changes.end(t)
    await cluster.check()
  })
})
