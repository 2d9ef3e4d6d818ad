import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import * as v from 'valibot'
import { GiB } from '../../../src/base/units.js'
import { parseCommandLine } from '../../../src/cli/scli/arguments.js'
import type { Answer, CommandContext } from '../../../src/cli/scli/command.js'
import { commands } from '../../../src/cli/scli/commands/index.js'
import { mdmRequests } from '../../../src/wire/control.js'
import { idOf, makeClusterReport, makeReport } from './report-fixture.js'

const from = { host: '127.0.0.1', port: 6611 }

const recovery = {
  why: 'imported',
  missing: ['device-5 of sds-1'],
  newer: [{ sds: 'sds-2', detail: 'device device-8: it knows epoch 9, the MDM 7' }],
}
const voided = { unheard: [idOf(20)], slicesMoved: 1, copiesDropped: 2, slicesUnproven: 3, volumes: [47, 48] }

/** Runs a command line against an MDM that takes everything; returns the answer and what the MDM was asked. */
async function scli(
  line: string,
  report = makeReport(),
  cluster = makeClusterReport(),
): Promise<Answer & { asked: [string, unknown][] }> {
  const parsed = parseCommandLine(line.split(' '), commands)
  if (parsed.kind !== 'run') throw new Error('help was not expected')
  const asked: [string, unknown][] = []
  const request = async (name: keyof typeof mdmRequests, params: unknown) => {
    if (name === 'queryCluster') return cluster
    asked.push([name, v.parse(mdmRequests[name], params)])
    if (name === 'queryRecovery') return { recovery }
    if (name === 'exportConfiguration') return { text: 'the configuration' }
    if (name === 'acceptConfiguration') return voided
    return { id: idOf(99), sizeBytes: (params as { sizeBytes?: number }).sizeBytes, capacityBytes: GiB }
  }
  const context = { mdm: { request }, report: async () => report, cluster: async () => ({ from, report: cluster }) }
  const { command, values } = parsed.invocation
  const answer = await command.run(values as never, context as unknown as CommandContext)
  return { ...answer, asked }
}

t.test('add_volume: the size is rounded up to a multiple of 8 GB, and it says so', async t => {
  const answer = await scli('--add_volume --storage_pool_name pool1 --volume_name v --size_gb 9 --thin_provisioned')
  t.same(answer.asked, [['addVolume', { pool: idOf(2), name: 'v', sizeBytes: 16 * GiB, type: 'thin' }]])
  t.match(answer.warnings, [/Rounding up the volume size to 16 GB/])
  t.equal(answer.text, `Successfully created volume of size 16 GB. Object ID ${idOf(99)}`)
})

t.test('add_volume: without --thin_provisioned it is thick, and a size that fits is not rounded', async t => {
  const answer = await scli('--add_volume --storage_pool_name pool1 --volume_name v --size_gb 8')
  t.match(answer.asked, [['addVolume', { type: 'thick', sizeBytes: 8 * GiB }]])
  t.equal(answer.warnings, undefined)
})

t.test('modify_volume_capacity: the size goes to the MDM as it is, never rounded', async t => {
  const answer = await scli('--modify_volume_capacity --volume_name vol1 --size_gb 20')
  t.same(answer.asked, [['growVolume', { volume: idOf(30), sizeBytes: 20 * GiB }]])
})

t.test('map_volume_to_sdc: an SDC is found by name, id, GUID in any case, or address', async t => {
  for (const which of ['--sdc_name sdc-1', `--sdc_id ${idOf(40)}`, '--sdc_guid ABCDEF', '--sdc_ip 127.0.0.1']) {
    const answer = await scli(
      `--map_volume_to_sdc --volume_name vol2 ${which} --allow_multi_map --access_mode readonly`,
    )
    const params = { volume: idOf(31), sdc: idOf(40), accessMode: 'ReadOnly', allowMultipleMappings: true }
    t.same(answer.asked, [['mapVolume', params]], which)
  }
})

t.test('limits: MB/s become KB/s, 0 stays unlimited, "policy" means what the pool says', async t => {
  const limits = async (options: string) =>
    (await scli(`--set_volume_sdc_limits --volume_name vol1 ${options}`)).asked[0]?.[1]
  const where = { volume: idOf(30), sdc: idOf(40) }
  t.same(await limits('--limit_iops 500 --limit_bandwidth_in_mbps 26'), {
    ...where,
    iopsLimit: 500,
    bandwidthLimitKbPerSec: 26 * 1024,
  })
  t.same(await limits('--limit_iops 0'), { ...where, iopsLimit: 0 })
  t.same(await limits('--limit_bandwidth_in_mbps policy'), { ...where, bandwidthLimitKbPerSec: null })
  await t.rejects(limits(''.padEnd(0)), { code: 'BAD_ARGUMENT' }, 'no limit at all is a mistake')
})

t.test('set_limit_policy: 500 IOPS and 256 KB/s per GB unless said otherwise', async t => {
  const policy = async (options: string) =>
    (await scli(`--set_limit_policy --storage_pool_name pool1 ${options}`.trim())).asked[0]?.[1]
  t.match(await policy(''), { policy: { iops: 500, bandwidthKbPerSecPerGb: 256 } })
  t.match(await policy('--iops 100'), { policy: { iops: 100, bandwidthKbPerSecPerGb: 256 } })
  t.match(await policy('--no_policy'), { policy: null })
})

t.test(
  'set_rebuild_policy, set_rebalance_policy: ScaleIO’s words, with its numbers; or back to the default',
  async t => {
    const policy = async (verb: string, options: string) =>
      (await scli(`--${verb} --storage_pool_name pool1 ${options}`)).asked[0]
    t.same(await policy('set_rebuild_policy', '--policy unlimited'), [
      'setRebuildPolicy',
      { pool: idOf(2), policy: { kind: 'unlimited' } },
    ])
    t.match(await policy('set_rebuild_policy', '--policy limit_concurrent_io --concurrent_io_limit 3'), [
      'setRebuildPolicy',
      { policy: { kind: 'limitNumOfConcurrentIos', concurrentIos: 3 } },
    ])
    t.match(await policy('set_rebalance_policy', '--policy favor_application_io'), [
      'setRebalancePolicy',
      { policy: { kind: 'favorAppIos', concurrentIos: 1, bandwidthKbPerSec: 10_240 } },
    ])
    t.match(await policy('set_rebalance_policy', '--policy dynamic_bandwidth_throttling --quiet_period_in_msec 5000'), [
      'setRebalancePolicy',
      { policy: { kind: 'dynamicBwThrottling', quietPeriodMs: 5_000 } },
    ])
    t.match(await policy('set_rebuild_policy', '--default_policy'), ['setRebuildPolicy', { policy: null }])
    t.match(await policy('set_grace_period', '--grace_period_in_sec 0'), ['setGracePeriod', { gracePeriodMs: 0 }])
  },
)

t.test('maintenance: enter and exit name the SDS', async t => {
  t.same((await scli('--enter_maintenance_mode --sds_name sds-1')).asked, [['enterMaintenance', { sds: idOf(11) }]])
  t.same((await scli('--exit_maintenance_mode --sds_name sds-1')).asked, [['exitMaintenance', { sds: idOf(11) }]])
})

t.test('unmap_volume_from_sdc: --all_sdcs takes back every mapping; a volume without one is an error', async t => {
  const answer = await scli('--unmap_volume_from_sdc --volume_name vol1 --all_sdcs --force')
  t.same(answer.asked, [['unmapVolume', { volume: idOf(30), sdc: idOf(40), force: true }]])
  t.equal(answer.text, `Successfully un-mapped volume with ID ${idOf(30)} from SDC with ID ${idOf(40)}.`)
  await t.rejects(scli('--unmap_volume_from_sdc --volume_name vol2 --all_sdcs'), { code: 'NOT_MAPPED' })
})

t.test('add_sds: its devices are added with it, and only then is a pool needed', async t => {
  const line = '--add_sds --protection_domain_name pd1 --sds_name s --sds_ip 10.0.0.1 --fault_set_name fs-1'
  t.same((await scli(line)).asked, [
    ['addSds', { protectionDomain: idOf(1), faultSet: idOf(3), name: 's', endpoint: { host: '10.0.0.1', port: 7072 } }],
  ])
  const withDevices = await scli(`${line} --sds_port 7100 --device_path /dev/sdb,/dev/sdc --storage_pool_name pool1`)
  t.match(withDevices.asked, [
    ['addSds', { endpoint: { port: 7100 } }],
    ['addDevice', { sds: idOf(99), pool: idOf(2), path: '/dev/sdb' }],
    ['addDevice', { path: '/dev/sdc' }],
  ])
  await t.rejects(scli(`${line} --device_path /dev/sdb`), { code: 'NOT_FOUND' })
})

t.test('names: what does not exist is refused before the MDM is asked, with the near names', async t => {
  await t.rejects(scli('--query_volume --volume_name vol9'), { code: 'NOT_FOUND', message: /did you mean vol1/ })
  await t.rejects(scli(`--query_volume --volume_id ${idOf(77)}`), { code: 'NOT_FOUND', message: /--query_all_volumes/ })
  await t.rejects(scli('--remove_sds --sds_name nowhere'), { code: 'NOT_FOUND', message: /no SDS with name nowhere/ })
})

t.test('names: a pool name that two protection domains have needs the domain as well', async t => {
  const report = makeReport()
  report.protectionDomains.push({ ...report.protectionDomains[0]!, id: idOf(60) as never, name: 'pd2' })
  report.pools.push({ ...report.pools[0]!, id: idOf(61) as never, protectionDomainId: idOf(60) as never })
  await t.rejects(scli('--query_storage_pool --storage_pool_name pool1', report), { code: 'BAD_ARGUMENT' })
  const answer = await scli('--query_storage_pool --protection_domain_name pd2 --storage_pool_name pool1', report)
  t.match(answer.data, { id: idOf(61) })
})

t.test('queries: every one answers a table for people and data for programs', async t => {
  const objects: Record<string, string> = {
    query_fault_set: ' --fault_set_name fs-1',
    query_storage_pool: ' --storage_pool_name pool1',
    query_sds: ' --sds_name sds-1',
    query_device: ' --device_path /d/sds-1/device-1',
    query_volume: ' --volume_name vol1',
    query_sdc: ' --sdc_name sdc-1',
  }
  for (const { verb } of commands.filter(command => command.action.startsWith('query'))) {
    const answer = await scli(`--${verb}${objects[verb] ?? ''}`)
    t.ok(answer.text.length > 40, `${verb} says something`)
    t.notMatch(answer.text, /undefined|NaN|\[object/, `${verb} says nothing odd`)
    t.ok(answer.data !== null && typeof answer.data === 'object', `${verb} has data`)
    t.same(JSON.parse(JSON.stringify(answer.data)), answer.data, `${verb}'s data is JSON`)
  }
})

t.test('query_volume: capacities, limits and doors of its mappings are shown', async t => {
  const { text } = await scli('--query_volume --volume_name vol1')
  for (const what of [/>> Volume ID: \S+ Name: vol1/, /8 GB \(8192 MB\)/, /sdc-1/, /unlimited/, /nbd\+unix:/])
    t.match(text, what)
})

t.test('query_cluster: speaks as ScaleIO does', async t => {
  const { text, warnings, data } = await scli('--query_cluster')
  t.equal(
    text,
    [
      'Cluster:',
      '    Mode: 3_node, State: Normal, Active: 3/3, Replicas: 2/2',
      '    Virtual IPs: N/A',
      'Master MDM:',
      `    Name: mdm-1, ID: 0x${idOf(51)}`,
      '        IPs: 127.0.0.1, Management IPs: 127.0.0.1, Port: 9011, Virtual IP interfaces: N/A',
      '        Version: 1.0.0',
      'Slave MDMs:',
      `    Name: mdm-2, ID: 0x${idOf(52)}`,
      '        IPs: 127.0.0.1, Management IPs: 127.0.0.1, Port: 9012',
      '        Status: Normal, Version: 1.0.0',
      'Tie-Breakers:',
      `    Name: mdm-3, ID: 0x${idOf(53)}`,
      '        IPs: 127.0.0.1, Port: 9013',
      '        Status: Normal, Version: 1.0.0',
      'Standby MDMs:',
      `    Name: mdm-4, ID: 0x${idOf(54)}, Manager`,
      '        IPs: 127.0.0.1, Management IPs: 127.0.0.1, Port: 9014',
      '        Status: Normal, Version: 1.0.0',
    ].join('\n'),
  )
  t.same(warnings, [])
  t.match(data, { mode: 3, answeredBy: from })
  t.equal((await scli('system query-cluster')).text, text)
})

t.test('query_cluster: a member without a master says that it knows only itself', async t => {
  const cluster = makeClusterReport()
  const [, slave, ...others] = cluster.mdms
  const lonely = {
    ...cluster,
    state: 'Error' as const,
    detail: '1 of 3 members is there, 2 are needed',
    self: { ...cluster.self, name: 'mdm-2', role: 'Slave' as const },
    mdms: [slave!, { ...cluster.mdms[0]!, role: 'Slave' as const, status: 'Disconnected' as const }, ...others],
  }
  const { text, warnings } = await scli('--query_cluster', makeReport(), lonely)
  t.match(text, /State: Error, .*\n.*\n {4}Why: 1 of 3 members is there, 2 are needed\nMaster MDM:\n {4}N\/A\n/)
  t.match(warnings, [/mdm-2 is not the master, and there is none/])
  const unattached = { ...lonely, mode: null, mdms: [], systemId: null, state: 'Not attached' as const }
  t.match((await scli('--query_cluster', makeReport(), unattached)).text, /State: Not attached, .*Name: mdm-2/s)
})

t.test('MDMs: they are attached, made members, replaced, renamed and removed, in both spellings', async t => {
  const asked = async (line: string) => (await scli(line)).asked
  const added = [['addStandbyMdm', { name: 'm', endpoint: { host: '10.0.0.5', port: 6611 }, kind: 'tieBreaker' }]]
  t.same(await asked('--add_standby_mdm --new_mdm_ip 10.0.0.5 --new_mdm_name m --mdm_role tb'), added)
  t.same(await asked('mdm add --ip 10.0.0.5 --name m --role tb'), added)
  t.match(await asked('mdm add --ip 10.0.0.5:77 --name m --role manager'), [
    ['addStandbyMdm', { endpoint: { port: 77 }, kind: 'manager' }],
  ])
  t.same(
    await asked('--switch_cluster_mode --cluster_mode 5_node --add_slave_mdm_name mdm-4 --add_tb_ip 127.0.0.1:9013'),
    [['switchClusterMode', { mode: 5, add: [idOf(54), idOf(53)] }]],
  )
  t.same(
    await asked(
      `--switch_cluster_mode --cluster_mode 1_node --remove_slave_mdm_id 0x${idOf(52)} --remove_tb_name mdm-3`,
    ),
    [['switchClusterMode', { mode: 1, remove: [idOf(52), idOf(53)] }]],
  )
  t.same(await asked('--replace_cluster_mdm --add_slave_mdm_name mdm-4 --remove_slave_mdm_name mdm-2'), [
    ['replaceClusterMdm', { add: idOf(54), remove: idOf(52) }],
  ])
  t.same(await asked('mdm switch-ownership --name mdm-2'), [['switchMdmOwnership', { mdm: idOf(52) }]])
  t.same(await asked('--rename_mdm --mdm_name mdm-2 --new_name east'), [
    ['renameMdm', { mdm: idOf(52), newName: 'east' }],
  ])
  t.same(await asked('--remove_standby_mdm --remove_mdm_name mdm-4'), [['removeStandbyMdm', { mdm: idOf(54) }]])
})

t.test('MDMs: what is no manager is not named as one, and who is not there is not guessed', async t => {
  await t.rejects(scli('--switch_cluster_mode --cluster_mode 3_node --add_slave_mdm_name mdm-3'), {
    code: 'BAD_ARGUMENT',
    message: /mdm-3 is a tie breaker, not a manager/,
  })
  await t.rejects(scli('--switch_mdm_ownership --new_master_mdm_name mdm-22'), {
    code: 'NOT_FOUND',
    message: /no MDM with name mdm-22/,
  })
  await t.rejects(scli('--rename_mdm --mdm_name mdm-1,mdm-2 --new_name x'), { message: /one MDM only/ })
})

t.test('export_configuration: writes the file as it is', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'blockmesh-test-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  await scli(`--export_configuration --file ${dir}/out.json`)
  t.equal(readFileSync(join(dir, 'out.json'), 'utf8'), 'the configuration')
  await t.rejects(scli(`--export_configuration --file ${dir}/none/out.json`), {
    code: 'BAD_ARGUMENT',
    message: /none\/out.json cannot be written: ENOENT/,
  })
})

t.test(
  'import_configuration: every mistake of the file is told, with the file’s name, and nothing is asked',
  async t => {
    const dir = mkdtempSync(join(tmpdir(), 'blockmesh-test-'))
    t.teardown(() => rmSync(dir, { recursive: true }))
    writeFileSync(join(dir, 'bad.json'), '{ "format": "blockmesh configuration", "version": 1, "system": { "id": 7 } }')
    await t.rejects(scli(`--import_configuration --file ${dir}/bad.json`), {
      code: 'BAD_ARGUMENT',
      message: /bad\.json: digest: .*\n.*bad\.json: system\.id: [\s\S]*bad\.json: volumes: /,
    })
    await t.rejects(scli(`--import_configuration --file ${dir}/none.json`), { code: 'NOT_FOUND', message: /ENOENT/ })
  },
)

t.test('accept_older_configuration: says what became void', async t => {
  const answer = await scli('--accept_older_configuration --force')
  t.same(answer.asked, [['acceptConfiguration', { force: true }]])
  t.match(
    answer.text,
    /2 volumes that it does not know: 47, 48\n.*2 copies.*\n.*1 slices.*\n.*3 slices.*lost\n.*1 devices/,
  )
})

t.test('query_recovery: names who is missing, who knows more, and the way out', async t => {
  t.match(
    (await scli('--query_recovery')).text,
    /stands still: its configuration was imported\.\n.*device-5 of sds-1\n.*sds-2, device device-8.*\n.*--accept_older/,
  )
})
