import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type LocalCluster, shell, startLocalCluster } from '../support/local-cluster.js'
import { runScli } from '../support/scli.js'

/** Everything that a change would change; figures that move by themselves are left out. */
async function configuration(cluster: LocalCluster): Promise<unknown> {
  const report = (await cluster.scli('--query_all')) as Record<string, Record<string, unknown>[]>
  const still = (rows: Record<string, unknown>[]) =>
    rows.map(({ capacity, slices, usage, exports, connected, address, ...rest }) => rest)
  const { protectionDomains, faultSets, pools, sdss, devices, volumes, sdcs, mappings } = report
  return [protectionDomains, faultSets, pools, sdss, devices, volumes, sdcs, mappings].map(rows => still(rows!))
}

const pool = '--protection_domain_name pd1 --storage_pool_name pool1'

const refusals = [
  {
    what: 'a size that is not a multiple of 8 GB',
    command: '--modify_volume_capacity --volume_name vol1 --size_gb 20',
    says: /8/,
  },
  {
    what: 'shrinking',
    command: '--modify_volume_capacity --volume_name big --size_gb 8',
    says: /shrink|smaller|grow/i,
  },
  {
    what: 'a volume that would eat the spare',
    command: `--add_volume ${pool} --volume_name v --size_gb 512 --thick_provisioned`,
    says: /spare|capacity/i,
  },
  { what: 'removing a mapped volume', command: '--remove_volume --volume_name vol1 --i_am_sure', says: /vol1.*map/i },
  { what: 'a name that exists', command: `--add_volume ${pool} --volume_name vol1 --size_gb 8`, says: /vol1/ },
  { what: 'a name with a space', command: `--add_volume ${pool} --volume_name 'a b' --size_gb 8`, says: /a b/ },
  {
    what: 'a name of 32 characters',
    command: `--add_volume ${pool} --volume_name ${'x'.repeat(32)} --size_gb 8`,
    says: /31/,
  },
  { what: 'an unknown volume', command: '--map_volume_to_sdc --volume_name nothing --sdc_name sdc-1', says: /nothing/ },
  {
    what: 'zero padding of a pool with devices',
    command: `--modify_zero_padding_policy ${pool} --disable_zero_padding`,
    says: /pool1.*device/i,
  },
  {
    what: 'ten IOPS',
    command: '--set_volume_limit --volume_name vol1 --sdc_name sdc-1 --limit_iops 10',
    says: /1[01]/,
  },
  {
    what: 'a fault set that is in use',
    command: '--remove_fault_set --protection_domain_name pd1 --fault_set_name fs-1 --i_am_sure',
    says: /fs-1/,
  },
  { what: 'a pool that is in use', command: `--remove_storage_pool ${pool} --i_am_sure`, says: /pool1/ },
  {
    what: 'a pool that has no fault sets to hold two copies',
    command: '--add_volume --protection_domain_name pd1 --storage_pool_name empty --volume_name v --size_gb 8',
    says: /empty.*fault/i,
  },
  {
    what: 'an SDS that nobody has started',
    command: `--add_sds ${pool} --sds_name ghost --sds_ip 127.0.0.1 --sds_port 1 --fault_set_name fs-1`,
    says: /ghost.*127\.0\.0\.1:1/,
  },
]

t.test('bad input: is refused with the object, the rule and the remedy, and nothing is changed', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G', '--volume', 'big:16G')
  await cluster.scli('--add_storage_pool', '--protection_domain_name', 'pd1', '--storage_pool_name', 'empty')
  const before = await configuration(cluster)
  for (const { what, command, says } of refusals) {
    const { code, stderr } = await runScli(cluster.dir, command)
    t.not(code, 0, `${what}: exit code`)
    t.match(stderr, says, `${what}: ${stderr.trim()}`)
  }
  t.same(await configuration(cluster), before)

  const addDevice = (path: string) =>
    runScli(cluster.dir, `--add_sds_device --sds_name sds-1 ${pool} --device_path ${path}`)
  await t.test('devices', async t => {
    const taken = cluster.file.devices.find(device => device.sds === 'sds-1')!
    const again = await addDevice(taken.path)
    t.not(again.code, 0)
    t.match(again.stderr, new RegExp(`${taken.path}|${taken.id}`), `the same device twice: ${again.stderr.trim()}`)

    const copy = join(cluster.dir, 'copy-of-a-device')
    await shell(`cp --sparse=always ${taken.path} ${copy}`)
    const copied = await addDevice(copy)
    t.not(copied.code, 0)
    t.match(copied.stderr, new RegExp(taken.id), `a copy of a device: ${copied.stderr.trim()}`)

    const fileSystem = join(cluster.dir, 'ext4')
    await shell(`truncate -s 2G ${fileSystem} && mkfs.ext4 -q -F ${fileSystem}`)
    const foreign = await addDevice(fileSystem)
    t.not(foreign.code, 0)
    t.match(foreign.stderr, /ext4/, `a file system: ${foreign.stderr.trim()}`)
    t.same(await configuration(cluster), before)
  })

  await t.test('daemons of another system', async t => {
    const other = await startLocalCluster(t, '--sdss', '2', '--fault-sets', '2')
    const address = (where: LocalCluster) => where.file.processes.find(process => process.role === 'mdm')!.address
    for (const name of ['sds-1', 'sdc-1']) {
      const file = join(other.dir, name, `${name}.yaml`)
      const wrong = join(other.dir, name, 'wrong.yaml')
      copyFileSync(file, wrong)
      await shell(`sed -i 's/${address(other)}/${address(cluster)}/' ${wrong}`)
      await other.local('terminate', name)
      const ended = await shell(
        `timeout 30 node dist/src/cli/blockmesh.js ${name.slice(0, 3)} --config ${wrong} 2>&1 && echo ended 0 || echo ended $?`,
      )
      t.match(ended, /another system|belongs to/, name)
      t.match(ended, /ended [1-9]/)
      t.notMatch(ended, /ended 124/, 'by itself')
    }
    t.same(await configuration(cluster), before)
  })

  await t.test('a configuration file with several mistakes: all at once, with their lines', async t => {
    const file = join(cluster.dir, 'bad.yaml')
    writeFileSync(
      file,
      'name: sds-9\nlisten: nowhere\nmdm: [127.0.0.1:6611]\nio:\n  mode: slow\nlease:\n  tiemout: 5\n',
    )
    const output = await shell(`node dist/src/cli/blockmesh.js sds --config ${file} --check 2>&1 || true`)
    t.match(output, /bad\.yaml:2: listen/)
    t.match(output, /bad\.yaml:5: io\.mode/)
    t.match(output, /directory/)
    t.match(output, /bad\.yaml:7: lease\.tiemout/)
  })
})
