import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { fileSystemsUnavailable, SmallFileSystem } from '../soak/disks.js'
import { type LocalCluster, startLocalCluster, until } from '../support/local-cluster.js'
import { preloadedLibrary } from '../support/preloaded.js'
import { healthy, recordsOf, reportOf, sleep, survives } from './failures.js'

t.setTimeout(600_000)

/** What has failed works again, and an administrator says so. */
async function cleared(cluster: LocalCluster, device: string): Promise<void> {
  await until(`${device} has failed`, 20_000, async () => (await stateOf(cluster, device)) === 'failed')
  await cluster.scli('--clear_sds_device_error', '--device_name', device)
}

const stateOf = async (cluster: LocalCluster, device: string): Promise<string | undefined> =>
  (await reportOf(cluster)).devices.find(({ name }) => name === device)?.state

t.test('failures: no single one is seen by an application', { timeout: 600_000 }, async t => {
  const dir = mkdtempSync(join(tmpdir(), 'blockmesh-disks-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  const library = await preloadedLibrary('failing-disk', dir)
  // Fault set 1 has SDSs 1 and 4, 2 has 2 and 5, 3 has 3 and 6.
  const cluster = await startLocalCluster(t, '--sdss', '6', '--fault-sets', '3', '--volume', 'vol1:8G')

  await survives(t, cluster, 'an SDS is killed, and comes back after eight seconds', async () => {
    await cluster.local('kill', 'sds-2')
    await sleep(8_000)
    await cluster.local('start', 'sds-2')
  })
  await survives(t, cluster, 'a whole fault set is killed at once, and comes back', async () => {
    await Promise.all(['sds-1', 'sds-4'].map(name => process.kill(pidOf(cluster, name), 'SIGKILL')))
    await sleep(8_000)
    for (const name of ['sds-1', 'sds-4']) await cluster.local('start', name)
  })
  await survives(t, cluster, 'an SDS stands still for a second, and goes on', async () => {
    await cluster.local('stop', 'sds-3')
    await sleep(1_000)
    await cluster.local('cont', 'sds-3')
  })
  await survives(t, cluster, 'an SDS stands still for twenty seconds, and goes on', async () => {
    await cluster.local('stop', 'sds-5')
    await sleep(20_000)
    await cluster.local('cont', 'sds-5')
  })
  await survives(t, cluster, 'the MDM is killed and comes back, and an SDS restarts meanwhile', async () => {
    await cluster.local('kill', 'mdm-1')
    await sleep(2_000)
    await cluster.local('start', 'mdm-1')
    await cluster.local('terminate', 'sds-1')
    await cluster.local('start', 'sds-1')
  })

  const device = cluster.file.devices.find(({ sds }) => sds === 'sds-2')!
  if (library === null) t.comment('no disk that answers with EIO: there is no compiler')
  else {
    // What is preloaded sees the calls of the file engine's threads, not the kernel's own queue.
    Object.assign(process.env, { LD_PRELOAD: library, BLOCKMESH_FILE_ENGINE: 'threads' })
    await cluster.local('terminate', 'sds-2')
    await cluster.local('start', 'sds-2')
    for (const name of ['LD_PRELOAD', 'BLOCKMESH_FILE_ENGINE']) delete process.env[name]
    await healthy(cluster)
    await survives(t, cluster, 'a disk answers with EIO, and is used again once it works', async () => {
      writeFileSync(`${device.path}.fails`, '')
      await sleep(6_000)
      rmSync(`${device.path}.fails`)
      await cleared(cluster, 'sds-2-device-1')
    })
  }

  const noFileSystems = await fileSystemsUnavailable(dir)
  if (noFileSystems !== null) t.comment(`no full file system: ${noFileSystems}`)
  else {
    const small = await SmallFileSystem.make(join(dir, 'small'), join(dir, 'image'))
    t.teardown(() => small.close())
    await cluster.scli(
      ...['--add_sds_device', '--sds_name', 'sds-3', '--storage_pool_name', 'pool1'],
      ...['--device_path', join(small.dir, 'device'), '--device_name', 'small', '--device_size', '16G'],
    )
    const { id } = (await reportOf(cluster)).devices.find(({ name }) => name === 'small')!
    await until('it has its share of the copies', 60_000, async () => {
      const records = await recordsOf(cluster)
      return records.filter(({ primary, secondary }) => primary === id || secondary === id).length > 280
    })
    await survives(
      t,
      cluster,
      'the file system of a device is full, and has room again',
      async () => {
        const giveBack = await small.fill()
        await until('it is noticed', 20_000, async () => (await stateOf(cluster, 'small')) === 'failed')
        giveBack()
        await cleared(cluster, 'small')
      },
      { fioOptions: '--offset=1G' },
    )
  }

  await cluster.check()
})

const pidOf = (cluster: LocalCluster, name: string): number =>
  cluster.file.processes.find(process => process.name === name)!.pid
