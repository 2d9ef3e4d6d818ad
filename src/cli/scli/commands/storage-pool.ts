import type { SystemReport } from '../../../wire/control.js'
import { formatSize, formatSizeTwice } from '../../format/size.js'
import { formatFacts, formatTable } from '../../format/table.js'
import { defineCommand, optional, required } from '../command.js'
import { ioPolicyWord, nameIn, progressWord, sliceState } from '../describe.js'
import { domainIfGiven, domainOf, namesDomain, namesPool, poolOf } from '../select.js'
import { flag, nameValue, oneOf, wholeNumber } from '../values.js'

const shorts = { id: 'storage_pool_id', name: 'storage_pool_name' } as const
const onePool = required('storage_pool_id', 'storage_pool_name')
const anyDomain = optional('protection_domain_id', 'protection_domain_name')
const poolOptions = { ...namesDomain, ...namesPool }
const sparePercent = wholeNumber('PERCENT', 'share of the capacity held back for rebuilds', { min: 0, max: 99 })

export const storagePoolCommands = [
  defineCommand({
    noun: 'storage-pool',
    action: 'add',
    verb: 'add_storage_pool',
    summary: 'Adds a storage pool',
    options: {
      ...namesDomain,
      storage_pool_name: nameValue('its name'),
      zero_padding: oneOf(['on', 'off'], 'whether bytes never written read as zero (default: on)'),
      spare_percentage: sparePercent,
    },
    choices: [required('protection_domain_id', 'protection_domain_name'), required('storage_pool_name')],
    shorts: { name: 'storage_pool_name' },
    async run(values, { mdm, report }) {
      const domain = domainOf(await report(), values)
      const name = values.storage_pool_name!
      const { id } = await mdm.request('addStoragePool', {
        protectionDomain: domain.id,
        name,
        ...(values.zero_padding === undefined ? {} : { zeroPadding: values.zero_padding === 'on' }),
        ...(values.spare_percentage === undefined ? {} : { sparePercent: values.spare_percentage }),
      })
      return { text: `Successfully created a storage pool ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'rename',
    verb: 'rename_storage_pool',
    summary: 'Gives a storage pool another name',
    options: { ...poolOptions, new_name: nameValue('the new name') },
    choices: [anyDomain, onePool, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = poolOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameStoragePool', { pool: id, newName })
      return { text: `Successfully renamed storage pool ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'remove',
    verb: 'remove_storage_pool',
    summary: 'Removes an empty storage pool',
    options: poolOptions,
    choices: [anyDomain, onePool],
    shorts,
    confirm: 'Remove the storage pool?',
    async run(values, { mdm, report }) {
      const { id, name } = poolOf(await report(), values)
      await mdm.request('removeStoragePool', { pool: id })
      return { text: `Successfully removed storage pool ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'set-zero-padding',
    verb: 'modify_zero_padding_policy',
    summary: 'Says whether bytes never written read as zero; only while the pool has no devices',
    options: {
      ...poolOptions,
      enable_zero_padding: flag('they read as zero'),
      disable_zero_padding: flag('they are undefined within a chunk'),
    },
    choices: [anyDomain, onePool, required('enable_zero_padding', 'disable_zero_padding')],
    shorts: { ...shorts, on: 'enable_zero_padding', off: 'disable_zero_padding' },
    async run(values, { mdm, report }) {
      const { id, name } = poolOf(await report(), values)
      const zeroPadding = values.enable_zero_padding === true
      await mdm.request('setZeroPadding', { pool: id, zeroPadding })
      const word = zeroPadding ? 'enabled' : 'disabled'
      return { text: `Successfully ${word} zero padding of storage pool ${name}`, data: { id, zeroPadding } }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'set-spare',
    verb: 'modify_spare_policy',
    summary: 'Says how much capacity is held back for rebuilds',
    options: {
      ...poolOptions,
      spare_percentage: sparePercent,
      spare_automatic: flag('as much as the largest fault set (or SDS) holds; the default'),
    },
    choices: [anyDomain, onePool, required('spare_percentage', 'spare_automatic')],
    shorts: { ...shorts, percent: 'spare_percentage', automatic: 'spare_automatic' },
    confirm: 'With too little spare a failure can leave data with one copy. Change the spare policy?',
    async run(values, { mdm, report }) {
      const { id, name } = poolOf(await report(), values)
      const percent = values.spare_percentage ?? null
      await mdm.request('setSparePercent', { pool: id, sparePercent: percent })
      const word = percent === null ? 'the largest fault unit' : `${percent}%`
      return {
        text: `Successfully set the spare of storage pool ${name} to ${word}`,
        data: { id, sparePercent: percent },
      }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'set-limit-policy',
    verb: 'set_limit_policy',
    summary: 'Derives the limits of mappings that set none of their own from the size of the volume',
    options: {
      ...poolOptions,
      iops: wholeNumber('IOPS', 'IOPS of every mapping, whatever the size; 0 is unlimited (default 500)', {
        min: 0,
        max: 1e9,
      }),
      bandwidth_kbps_per_gb: wholeNumber('KB/s', 'for each GB of the volume (default 256: 104 GB gets 26 MB/s)', {
        min: 0,
        max: 1e9,
      }),
      no_policy: flag('mappings without limits of their own are unlimited'),
    },
    choices: [anyDomain, onePool, optional('no_policy', 'iops'), optional('no_policy', 'bandwidth_kbps_per_gb')],
    shorts,
    async run(values, { mdm, report }) {
      const pool = poolOf(await report(), values)
      const policy = values.no_policy
        ? null
        : {
            iops: values.iops ?? pool.limitPolicy?.iops ?? 500,
            bandwidthKbPerSecPerGb: values.bandwidth_kbps_per_gb ?? pool.limitPolicy?.bandwidthKbPerSecPerGb ?? 256,
          }
      await mdm.request('setLimitPolicy', { pool: pool.id, policy })
      return {
        text: `Successfully set the limit policy of storage pool ${pool.name} to ${policyWord(policy)}`,
        data: { id: pool.id, limitPolicy: policy },
      }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'query',
    verb: 'query_storage_pool',
    summary: 'Shows a storage pool: policies, capacity and health',
    options: poolOptions,
    choices: [anyDomain, onePool],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const pool = poolOf(report, values)
      return { text: facts(report, pool), data: pool }
    },
  }),
  defineCommand({
    noun: 'storage-pool',
    action: 'query-all',
    verb: 'query_all_storage_pools',
    summary: 'Lists the storage pools',
    options: namesDomain,
    choices: [anyDomain],
    async run(values, context) {
      const report = await context.report()
      const domain = domainIfGiven(report, values)
      const pools = report.pools.filter(pool => !domain || pool.protectionDomainId === domain.id)
      const rows = pools.map(pool => [
        pool.name,
        pool.id,
        nameIn(report.protectionDomains, pool.protectionDomainId),
        formatSize(pool.capacity.rawBytes),
        formatSize(pool.capacity.inUseBytes),
        formatSize(pool.capacity.spareBytes),
        formatSize(pool.capacity.usableBytes),
        formatSize(pool.capacity.freeForVolumesBytes),
        sliceState(pool.slices),
      ])
      const head = ['Storage pool', 'ID', 'Protection domain', 'Raw', 'In use', 'Spare', 'Usable', 'Free', 'State']
      return {
        text: `Query-all-storage-pools returned ${pools.length} pools.\n${formatTable(head, rows)}`,
        data: pools,
      }
    },
  }),
]

type Pool = SystemReport['pools'][number]

const policyWord = (policy: Pool['limitPolicy']): string =>
  policy === null
    ? 'none'
    : `${policy.iops === 0 ? 'unlimited' : policy.iops} IOPS and ${policy.bandwidthKbPerSecPerGb} KB/s per GB`

function facts(report: SystemReport, pool: Pool): string {
  const { capacity, slices } = pool
  const devices = report.devices.filter(device => device.poolId === pool.id)
  return [
    `Storage Pool ${pool.name} (Id: ${pool.id}) has ${report.volumes.filter(volume => volume.poolId === pool.id).length} ` +
      `volumes and ${formatSizeTwice(capacity.freeForVolumesBytes)} available for volume allocation`,
    formatFacts([
      ['Protection domain', nameIn(report.protectionDomains, pool.protectionDomainId)],
      ['State', sliceState(slices)],
      ['Zero padding', pool.zeroPadding ? 'enabled' : 'disabled'],
      ['Spare', pool.sparePercent === null ? 'the largest fault unit' : `${pool.sparePercent}%`],
      ['Limit policy', policyWord(pool.limitPolicy)],
      ['Rebuild policy', ioPolicyWord(pool.rebuildPolicy)],
      ['Rebalance policy', ioPolicyWord(pool.rebalancePolicy)],
      ['Grace period', pool.gracePeriodMs === undefined ? 'default' : `${pool.gracePeriodMs / 1000} seconds`],
      ['Rebuild', progressWord(pool.rebuild)],
      ['Rebalance', progressWord(pool.rebalance)],
      ['Devices', devices.length],
      ['Raw capacity', formatSizeTwice(capacity.rawBytes)],
      ['In use', formatSizeTwice(capacity.inUseBytes)],
      ['Spare capacity', formatSizeTwice(capacity.spareBytes)],
      ['Usable', formatSizeTwice(capacity.usableBytes)],
      ['Thick reserved', formatSizeTwice(capacity.thickReservedBytes)],
      ['Thin allocated', formatSizeTwice(capacity.thinAllocatedBytes)],
      ['Thin provisioned', formatSizeTwice(capacity.thinProvisionedBytes)],
      ['Free for volumes', formatSizeTwice(capacity.freeForVolumesBytes)],
      [
        'Slices',
        `${slices.total} (${slices.healthy} healthy, ${slices.joining} joining, ${slices.degraded} degraded, ${slices.failed} failed)`,
      ],
    ]),
  ].join('\n')
}
