import { GiB, volumeStepBytes } from '../../../base/units.js'
import type { SystemReport } from '../../../wire/control.js'
import { formatSizeTwice } from '../../format/size.js'
import { formatFacts, formatTable } from '../../format/table.js'
import { defineCommand, optional, required } from '../command.js'
import { limitWord, nameIn } from '../describe.js'
import { domainIfGiven, namesDomain, namesPool, namesVolume, poolOf, volumeOf } from '../select.js'
import { flag, nameValue, sizeGb } from '../values.js'

const shorts = { id: 'volume_id', name: 'volume_name' } as const
const oneVolume = required('volume_id', 'volume_name')
const inGb = (bytes: number): number => bytes / GiB

export const volumeCommands = [
  defineCommand({
    noun: 'volume',
    action: 'add',
    verb: 'add_volume',
    summary: 'Creates a volume; its size is rounded up to a multiple of 8 GB',
    options: {
      ...namesDomain,
      ...namesPool,
      volume_name: nameValue('its name'),
      size_gb: sizeGb('its size, rounded up to a multiple of 8 GB'),
      thin_provisioned: flag('allocate as it is written'),
      thick_provisioned: flag('reserve all capacity now; the default'),
    },
    choices: [
      optional('protection_domain_id', 'protection_domain_name'),
      required('storage_pool_id', 'storage_pool_name'),
      required('volume_name'),
      required('size_gb'),
      optional('thin_provisioned', 'thick_provisioned'),
    ],
    shorts: { name: 'volume_name', size: 'size_gb', thin: 'thin_provisioned', thick: 'thick_provisioned' },
    async run(values, { mdm, report }) {
      const pool = poolOf(await report(), values)
      const name = values.volume_name!
      const wantBytes = Math.ceil(values.size_gb! / volumeStepBytes) * volumeStepBytes
      const type = values.thin_provisioned ? 'thin' : 'thick'
      const { id, sizeBytes } = await mdm.request('addVolume', { pool: pool.id, name, sizeBytes: wantBytes, type })
      const rounded = sizeBytes !== values.size_gb
      return {
        text: `Successfully created volume of size ${inGb(sizeBytes)} GB. Object ID ${id}`,
        data: { id, name, sizeBytes, type },
        ...(rounded ? { warnings: [`Warning: Rounding up the volume size to ${inGb(sizeBytes)} GB`] } : {}),
      }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'grow',
    verb: 'modify_volume_capacity',
    summary: 'Grows a volume, while it is in use too; the size must be a multiple of 8 GB',
    options: { ...namesVolume, size_gb: sizeGb('the new size, a multiple of 8 GB') },
    choices: [oneVolume, required('size_gb')],
    shorts: { ...shorts, size: 'size_gb' },
    async run(values, { mdm, report }) {
      const { id, name } = volumeOf(await report(), values)
      const sizeBytes = values.size_gb!
      await mdm.request('growVolume', { volume: id, sizeBytes })
      return { text: `Successfully modified volume size to ${inGb(sizeBytes)} GB`, data: { id, name, sizeBytes } }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'rename',
    verb: 'rename_volume',
    summary: 'Gives a volume another name; its NBD export follows',
    options: { ...namesVolume, new_name: nameValue('the new name') },
    choices: [oneVolume, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = volumeOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameVolume', { volume: id, newName })
      return { text: `Successfully renamed volume ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'remove',
    verb: 'remove_volume',
    summary: 'Removes a volume that is not mapped, with all its data',
    options: namesVolume,
    choices: [oneVolume],
    shorts,
    confirm: 'All data of the volume will be lost. Remove it?',
    async run(values, { mdm, report }) {
      const { id, name } = volumeOf(await report(), values)
      await mdm.request('removeVolume', { volume: id })
      return { text: `Successfully removed volume ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'query',
    verb: 'query_volume',
    summary: 'Shows a volume and its mappings',
    options: namesVolume,
    choices: [oneVolume],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const volume = volumeOf(report, values)
      const mappings = report.mappings.filter(mapping => mapping.volumeId === volume.id)
      return { text: facts(report, volume), data: { ...volume, mappings } }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'query-all',
    verb: 'query_all_volumes',
    summary: 'Lists the volumes',
    options: { ...namesDomain, ...namesPool },
    choices: [
      optional('protection_domain_id', 'protection_domain_name'),
      optional('storage_pool_id', 'storage_pool_name'),
    ],
    async run(values, context) {
      const report = await context.report()
      const domain = domainIfGiven(report, values)
      const namesOnePool = values.storage_pool_id !== undefined || values.storage_pool_name !== undefined
      const pools = namesOnePool
        ? [poolOf(report, values)]
        : report.pools.filter(pool => !domain || pool.protectionDomainId === domain.id)
      const volumes = report.volumes.filter(volume => pools.some(pool => pool.id === volume.poolId))
      const rows = volumes.map(volume => [
        volume.name,
        volume.id,
        formatSizeTwice(volume.sizeBytes),
        typeWord(volume),
        nameIn(report.pools, volume.poolId),
        mappedWord(volume.mappedTo),
      ])
      const list = formatTable(['Volume', 'ID', 'Size', 'Type', 'Storage pool', 'Mapping'], rows)
      return { text: `Query-all-volumes returned ${volumes.length} Volumes.\n${list}`, data: volumes }
    },
  }),
]

type Volume = SystemReport['volumes'][number]

const typeWord = (volume: Volume): string => (volume.type === 'thin' ? 'Thin-provisioned' : 'Thick-provisioned')
const mappedWord = (count: number): string => (count === 0 ? 'Unmapped' : `Mapped to ${count} SDC`)

function facts(report: SystemReport, volume: Volume): string {
  const lines = [
    `>> Volume ID: ${volume.id} Name: ${volume.name}`,
    formatFacts([
      ['Size', formatSizeTwice(volume.sizeBytes)],
      ['Type', typeWord(volume)],
      ['Storage pool', nameIn(report.pools, volume.poolId)],
      ['Mapping', mappedWord(volume.mappedTo)],
    ]),
  ]
  const rows = report.mappings
    .filter(mapping => mapping.volumeId === volume.id)
    .map(mapping => {
      const sdc = report.sdcs.find(candidate => candidate.id === mapping.sdcId)
      const door = sdc?.exports.find(candidate => candidate.volumeId === volume.id)
      return [
        sdc?.name,
        mapping.sdcId,
        sdc?.address?.host,
        mapping.accessMode,
        limitWord(mapping.effectiveIops),
        limitWord(mapping.effectiveBandwidthKbPerSec),
        door?.device,
        door?.error ?? door?.uri,
      ]
    })
  if (rows.length === 0) return lines.join('\n')
  const head = ['SDC', 'SDC ID', 'IP', 'Access', 'IOPS limit', 'KB/s limit', 'Device', 'NBD']
  return [...lines, 'Mapped SDCs:', formatTable(head, rows)].join('\n')
}
