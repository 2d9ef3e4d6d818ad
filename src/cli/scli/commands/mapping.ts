import { StorageError } from '../../../base/errors.js'
import type { SystemReport } from '../../../wire/control.js'
import { defineCommand, optional, required } from '../command.js'
import { namesSdc, namesVolume, sdcOf, volumeOf } from '../select.js'
import { flag, limitValue, oneOf } from '../values.js'

const oneVolume = required('volume_id', 'volume_name')
const sdcNames = Object.keys(namesSdc)
const limits = {
  limit_iops: limitValue('IOPS', 'IOPS limit, above 10; 0 is unlimited, "policy" follows the storage pool'),
  limit_bandwidth_in_mbps: limitValue('MB/s', 'bandwidth limit; 0 is unlimited, "policy" follows the storage pool'),
}

export const mappingCommands = [
  defineCommand({
    noun: 'volume',
    action: 'map',
    verb: 'map_volume_to_sdc',
    summary: 'Gives an SDC access to a volume',
    options: {
      ...namesVolume,
      ...namesSdc,
      ...limits,
      access_mode: oneOf(['ReadWrite', 'ReadOnly'], 'what the SDC may do (default ReadWrite)'),
      allow_multi_map: flag('although the volume is mapped to another SDC'),
    },
    choices: [oneVolume, required(...sdcNames)],
    shorts: { id: 'volume_id', name: 'volume_name', sdc: 'sdc_name' },
    async run(values, { mdm, report }) {
      const now = await report()
      const volume = volumeOf(now, values)
      const sdc = sdcOf(now, values)
      const { id } = await mdm.request('mapVolume', {
        volume: volume.id,
        sdc: sdc.id,
        ...(values.access_mode === undefined ? {} : { accessMode: values.access_mode }),
        ...(values.allow_multi_map ? { allowMultipleMappings: true } : {}),
        ...limitParams(values),
      })
      return {
        text: `Successfully mapped volume with ID ${volume.id} to SDC with ID ${sdc.id}.`,
        data: { id, volumeId: volume.id, sdcId: sdc.id },
      }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'unmap',
    verb: 'unmap_volume_from_sdc',
    summary: "Takes back an SDC's access to a volume; returns when nothing of it can arrive any more",
    options: {
      ...namesVolume,
      ...namesSdc,
      all_sdcs: flag('from every SDC'),
      all_sdc: flag('the same'),
      force: flag('also if neither the SDC nor every SDS confirms'),
    },
    choices: [oneVolume, required(...sdcNames, 'all_sdcs', 'all_sdc')],
    shorts: { id: 'volume_id', name: 'volume_name', sdc: 'sdc_name' },
    confirm: 'The device disappears from the host. Unmap the volume?',
    async run(values, { mdm, report }) {
      const now = await report()
      const volume = volumeOf(now, values)
      const all = values.all_sdcs || values.all_sdc
      const mapped = now.mappings.filter(mapping => mapping.volumeId === volume.id).map(mapping => mapping.sdcId)
      const sdcIds = all ? mapped : [sdcOf(now, values).id]
      if (sdcIds.length === 0)
        throw new StorageError('NOT_MAPPED', { detail: `volume ${volume.name} is not mapped to any SDC` })
      for (const sdc of sdcIds)
        await mdm.request('unmapVolume', { volume: volume.id, sdc, ...(values.force ? { force: true } : {}) })
      const lines = sdcIds.map(id => `Successfully un-mapped volume with ID ${volume.id} from SDC with ID ${id}.`)
      return { text: lines.join('\n'), data: { volumeId: volume.id, sdcIds } }
    },
  }),
  defineCommand({
    noun: 'volume',
    action: 'set-limits',
    verb: 'set_volume_sdc_limits',
    aliases: ['set_sdc_volume_limits', 'set_volume_limit'],
    summary: 'Limits what an SDC may do with a volume; takes effect at once, without a reconnect',
    options: { ...namesVolume, ...namesSdc, all_sdcs: flag('for every SDC that it is mapped to'), ...limits },
    choices: [oneVolume, optional(...sdcNames, 'all_sdcs')],
    shorts: {
      id: 'volume_id',
      name: 'volume_name',
      sdc: 'sdc_name',
      iops: 'limit_iops',
      mbps: 'limit_bandwidth_in_mbps',
    },
    async run(values, { mdm, report }) {
      const now = await report()
      const volume = volumeOf(now, values)
      const params = limitParams(values)
      if (Object.keys(params).length === 0)
        throw new StorageError('BAD_ARGUMENT', {
          detail: `no limit is given for volume ${volume.name}`,
          remedy: 'give --limit_iops, --limit_bandwidth_in_mbps or both (0 removes a limit)',
        })
      const sdcIds = mappedSdcs(now, volume, values)
      for (const sdc of sdcIds) await mdm.request('setMappingLimits', { volume: volume.id, sdc, ...params })
      const lines = sdcIds.map(id => `Successfully set the limits of volume ${volume.name} for SDC with ID ${id}.`)
      return { text: lines.join('\n'), data: { volumeId: volume.id, sdcIds, ...params } }
    },
  }),
]

/** The SDCs meant: the one named, every one, or the only one that has the volume. */
function mappedSdcs(
  report: SystemReport,
  volume: SystemReport['volumes'][number],
  values: Readonly<Record<string, unknown>>,
): string[] {
  const mapped = report.mappings.filter(mapping => mapping.volumeId === volume.id).map(mapping => mapping.sdcId)
  if (sdcNames.some(name => values[name] !== undefined)) return [sdcOf(report, values).id]
  if (mapped.length === 0)
    throw new StorageError('NOT_MAPPED', {
      detail: `volume ${volume.name} is not mapped to any SDC, so it has no limits`,
      remedy: 'map it first: --map_volume_to_sdc',
    })
  if (mapped.length > 1 && !values.all_sdcs)
    throw new StorageError('BAD_ARGUMENT', {
      detail: `volume ${volume.name} is mapped to ${mapped.length} SDCs`,
      remedy: 'name one with --sdc_name, or take --all_sdcs',
    })
  return mapped
}

function limitParams(values: { limit_iops?: number | null; limit_bandwidth_in_mbps?: number | null }) {
  const mbps = values.limit_bandwidth_in_mbps
  return {
    ...(values.limit_iops === undefined ? {} : { iopsLimit: values.limit_iops }),
    ...(mbps === undefined ? {} : { bandwidthLimitKbPerSec: mbps === null ? null : mbps * 1024 }),
  }
}
