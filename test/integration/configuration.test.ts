import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fio, startLocalCluster, until } from '../support/local-cluster.js'
import { runProgram } from '../support/run-program.js'

/**
 * Real processes. The MDM's directory is lost; a new MDM imports the exported configuration; the daemons, which end when
 * they meet a configuration that is not the one they have lived under, are started again, as systemd would do.
 */

type Cluster = Awaited<ReturnType<typeof startLocalCluster>>
interface Recovery {
  why: string
  missing: string[]
  newer: { sds: string; detail: string }[]
}

const pattern = '--bs=64k --size=64m --verify=crc32c --do_verify=0 --rw=write --verify_fatal=1'

/** An empty MDM in the place of the one that was there; everybody else's process has ended or ends now. */
async function loseMdm(cluster: Cluster): Promise<void> {
  await cluster.local('kill', 'mdm-1')
  for (const { name, role } of cluster.file.processes) if (role !== 'mdm') await cluster.local('kill', name)
  rmSync(join(cluster.dir, 'mdm-1', 'state'), { recursive: true })
  await cluster.local('start', 'mdm-1')
}

/** The new MDM is of another system until then, which --dir would refuse to speak to. */
async function importInto(cluster: Cluster, file: string): Promise<void> {
  const { address } = cluster.file.processes.find(({ role }) => role === 'mdm')!
  const { exit, stderr } = await runProgram('scli', ['--mdm_ip', address, '--import_configuration', '--file', file])
  if (exit !== 0) throw new Error(stderr)
}

async function startAll(cluster: Cluster): Promise<void> {
  for (const { name, role } of cluster.file.processes) if (role !== 'mdm') await cluster.local('start', name)
}

const recovery = (cluster: Cluster) => cluster.scli('--query_recovery') as Promise<Recovery | null>

const isHealthy = async (cluster: Cluster): Promise<boolean> => {
  const report = (await cluster.scli('--query_all')) as { pools: { slices: { total: number; healthy: number } }[] }
  return report.pools.every(({ slices }) => slices.total > 0 && slices.healthy === slices.total)
}

t.test('export, lose the MDM, import: the system goes on by itself, and the data verify', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
  const { uri } = cluster.volume('vol1')
  await fio(`--name=w --ioengine=nbd --uri='${uri}' ${pattern}`)
  const file = join(cluster.dir, 'export.json')
  await cluster.scli('--export_configuration', '--file', file)
  const before = await cluster.scli('--query_all_volumes')

  await loseMdm(cluster)
  await importInto(cluster, file)
  t.match(await recovery(cluster), { why: 'imported', missing: { length: 3 } })
  await startAll(cluster)
  await until('all SDSs have come', 60_000, async () => (await recovery(cluster)) === null)
  await until('healthy', 120_000, () => isHealthy(cluster))
  t.same(await cluster.scli('--query_all_volumes'), before)
  await fio(`--name=v --ioengine=nbd --uri='${uri}' ${pattern.replace('--rw=write', '--rw=read')} --do_verify=1`)
  await cluster.check()
})

t.test(
  'an older export: alarm, nothing is served; --accept_older_configuration goes on, and the data verify',
  async t => {
    const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
    const { uri } = cluster.volume('vol1')
    await fio(`--name=w --ioengine=nbd --uri='${uri}' ${pattern}`)
    const file = join(cluster.dir, 'export.json')
    await cluster.scli('--export_configuration', '--file', file)

    // Since the export: an SDS is away while data are written, and comes back; a volume is added.
    await cluster.local('kill', 'sds-2')
    await fio(`--name=w --ioengine=nbd --uri='${uri}' ${pattern} --offset=64m`)
    await cluster.local('start', 'sds-2')
    await until('healthy', 120_000, () => isHealthy(cluster))
    await cluster.scli(...'--add_volume --storage_pool_name pool1 --volume_name later --size_gb 8'.split(' '))

    await loseMdm(cluster)
    await importInto(cluster, file)
    await startAll(cluster)
    await until('it is seen that SDSs know more', 60_000, async () => {
      const now = await recovery(cluster)
      return now !== null && now.missing.length === 0 && now.newer.length > 0
    })
    await t.rejects(cluster.scli('--accept_older_configuration'), /--i_am_sure/)
    const voided = await cluster.scli('--accept_older_configuration', '--i_am_sure')
    t.match(voided, { unheard: [], slicesUnproven: 0 })
    await until('healthy', 120_000, () => isHealthy(cluster))
    const verify = pattern.replace('--rw=write', '--rw=read')
    await fio(`--name=v --ioengine=nbd --uri='${uri}' ${verify} --do_verify=1`)
    await fio(`--name=v --ioengine=nbd --uri='${uri}' ${verify} --do_verify=1 --offset=64m`)
    await cluster.check()
  },
)
