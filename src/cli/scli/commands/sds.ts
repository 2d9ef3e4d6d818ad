import type { SystemReport } from '../../../wire/control.js'
import { parseSize } from '../../format/size.js'
import { formatFacts, formatTable } from '../../format/table.js'
import { defineCommand, optional, required } from '../command.js'
import { connectedWord, nameIn } from '../describe.js'
import { domainOf, faultSetOf, namesDomain, namesFaultSet, namesPool, namesSds, poolOf, sdsOf } from '../select.js'
import { flag, nameValue, parseAddress, text, wholeNumber } from '../values.js'
import { deviceTable } from './device.js'

/** Where an SDS's data endpoint listens unless said otherwise, as in ScaleIO. */
export const sdsPortDefault = 7072

const shorts = { id: 'sds_id', name: 'sds_name', ip: 'sds_ip' } as const
const oneSds = required('sds_id', 'sds_name', 'sds_ip')

export const sdsCommands = [
  defineCommand({
    noun: 'sds',
    action: 'add',
    verb: 'add_sds',
    summary: 'Adds a running SDS to the system, also with its first devices',
    options: {
      ...namesDomain,
      ...namesFaultSet,
      ...namesPool,
      sds_name: nameValue('its name'),
      sds_ip: text('IP[:PORT]', 'where its data endpoint listens'),
      sds_port: wholeNumber('PORT', `port of its data endpoint (default ${sdsPortDefault})`, { min: 1, max: 65535 }),
      device_path: text('PATH,…', 'devices to add at once'),
      device_size: { placeholder: 'SIZE', help: 'size of a device file to make, as 16G', parse: parseDeviceSize },
      force_device_takeover: flag('take devices that hold something else'),
    },
    choices: [
      required('protection_domain_id', 'protection_domain_name'),
      optional('fault_set_id', 'fault_set_name'),
      optional('storage_pool_id', 'storage_pool_name'),
      required('sds_name'),
      required('sds_ip'),
    ],
    shorts: { name: 'sds_name', ip: 'sds_ip', port: 'sds_port' },
    async run(values, { mdm, report }) {
      const now = await report()
      const domain = domainOf(now, values)
      const inFaultSet = values.fault_set_id !== undefined || values.fault_set_name !== undefined
      const faultSet = inFaultSet ? faultSetOf(now, values) : null
      const paths = values.device_path?.split(',') ?? []
      const pool = paths.length > 0 ? poolOf(now, values) : null
      const endpoint = parseAddress(values.sds_ip!, values.sds_port ?? sdsPortDefault)
      if (values.sds_port !== undefined) endpoint.port = values.sds_port
      const name = values.sds_name!
      const { id } = await mdm.request('addSds', {
        protectionDomain: domain.id,
        name,
        endpoint,
        ...(faultSet ? { faultSet: faultSet.id } : {}),
      })
      const lines = [`Successfully created SDS ${name}. Object ID ${id}`]
      const devices: { id: string; path: string }[] = []
      for (const path of paths) {
        const device = await mdm.request('addDevice', {
          sds: id,
          pool: pool!.id,
          path,
          ...(values.device_size === undefined ? {} : { sizeBytes: values.device_size }),
          ...(values.force_device_takeover ? { force: true } : {}),
        })
        lines.push(`Successfully added device ${path} to SDS. New device ID: ${device.id}`)
        devices.push({ id: device.id, path })
      }
      return { text: lines.join('\n'), data: { id, name, devices } }
    },
  }),
  defineCommand({
    noun: 'sds',
    action: 'rename',
    verb: 'rename_sds',
    summary: 'Gives an SDS another name',
    options: { ...namesSds, new_name: nameValue('the new name') },
    choices: [oneSds, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = sdsOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameSds', { sds: id, newName })
      return { text: `Successfully renamed SDS ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'sds',
    action: 'remove',
    verb: 'remove_sds',
    summary: 'Removes an SDS; its devices are drained first',
    options: namesSds,
    choices: [oneSds],
    shorts,
    confirm: 'Remove the SDS?',
    async run(values, { mdm, report }) {
      const { id, name } = sdsOf(await report(), values)
      const { removed } = await mdm.request('removeSds', { sds: id })
      const text =
        removed === false
          ? `Started to remove SDS ${name}: its devices are drained first.`
          : `Successfully removed SDS ${name}.`
      return { text: `${text} Object ID ${id}`, data: { id, name, removed: removed !== false } }
    },
  }),
  defineCommand({
    noun: 'sds',
    action: 'query',
    verb: 'query_sds',
    summary: 'Shows an SDS and its devices',
    options: namesSds,
    choices: [oneSds],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const sds = sdsOf(report, values)
      const devices = report.devices.filter(device => device.sdsId === sds.id)
      const facts = formatFacts([
        ['State', stateOf(sds)],
        ['Protection domain', nameIn(report.protectionDomains, sds.protectionDomainId)],
        ['Fault set', nameIn(report.faultSets, sds.faultSetId)],
        ['Address', `${sds.endpoint.host}:${sds.endpoint.port}`],
        ['GUID', sds.guid],
        ['Thrown out', oscillationWord(sds)],
      ])
      const list = devices.length > 0 ? `:\n${deviceTable(report, devices)}` : ')'
      const head = `SDS ${sds.name} (Id: ${sds.id})`
      const tail = `Device information (total ${devices.length} devices${list.replace(/^:/, '):')}`
      return { text: [head, facts, tail].join('\n'), data: { ...sds, deviceList: devices } }
    },
  }),
  defineCommand({
    noun: 'sds',
    action: 'query-all',
    verb: 'query_all_sds',
    summary: 'Lists the SDSs',
    options: {},
    async run(_values, context) {
      const report = await context.report()
      const rows = report.sdss.map(sds => [
        sds.name,
        sds.id,
        nameIn(report.protectionDomains, sds.protectionDomainId),
        nameIn(report.faultSets, sds.faultSetId),
        `${sds.endpoint.host}:${sds.endpoint.port}`,
        sds.devices,
        sds.oscillations?.medium ?? 0,
        stateOf(sds),
      ])
      const head = ['SDS', 'ID', 'Protection domain', 'Fault set', 'Address', 'Devices', 'Thrown out', 'State']
      const list = rows.length > 0 ? `\n${formatTable(head, rows)}` : ''
      return { text: `Query-all-SDS returned ${report.sdss.length} SDS nodes.${list}`, data: report.sdss }
    },
  }),
]

const stateOf = (sds: SystemReport['sdss'][number]): string =>
  `${connectedWord(sds.connected)}, ${sds.incarnation > 0 ? 'Joined' : 'JoinPending'}` +
  `${sds.maintenance ? ', Maintenance' : ''}${sds.removing ? ', Removing' : ''}`

/** How often its partners could not reach it and went on without it. */
function oscillationWord({ oscillations }: SystemReport['sdss'][number]): string {
  const { short, medium, long } = oscillations ?? { short: 0, medium: 0, long: 0 }
  return `${short} times in the last minute, ${medium} in the last hour, ${long} in the last day`
}

function parseDeviceSize(given: string): number {
  return parseSize(given, 'the device size')
}
