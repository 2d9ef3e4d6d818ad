import { StorageError } from '../../../base/errors.js'
import { chunkBytes } from '../../../base/units.js'
import type { SystemReport } from '../../../wire/control.js'
import { formatSize, parseSize } from '../../format/size.js'
import { formatTable } from '../../format/table.js'
import { defineCommand, optional, required } from '../command.js'
import { nameIn } from '../describe.js'
import { deviceOf, namesDevice, namesDomain, namesPool, namesSds, poolOf, sdsOf } from '../select.js'
import { flag, nameValue, text } from '../values.js'

const shorts = { id: 'device_id', name: 'device_name', path: 'device_path' } as const
const oneDevice = required('device_id', 'device_name', 'device_path')
const anySds = optional('sds_id', 'sds_name', 'sds_ip')

export const deviceCommands = [
  defineCommand({
    noun: 'device',
    action: 'add',
    verb: 'add_sds_device',
    summary: 'Adds a device of an SDS to a storage pool',
    options: {
      ...namesSds,
      ...namesDomain,
      ...namesPool,
      device_path: text('PATH', 'its path on the SDS'),
      device_name: nameValue('its name'),
      device_size: {
        placeholder: 'SIZE',
        help: 'size of the file to make where the path does not exist, as 16G',
        parse: (given: string) => parseSize(given, 'the device size'),
      },
      force_device_takeover: flag('take it even if it holds something else'),
    },
    choices: [
      required('sds_id', 'sds_name', 'sds_ip'),
      optional('protection_domain_id', 'protection_domain_name'),
      required('storage_pool_id', 'storage_pool_name'),
      required('device_path'),
    ],
    shorts: { path: 'device_path', name: 'device_name', size: 'device_size', force: 'force_device_takeover' },
    async run(values, { mdm, report }) {
      const now = await report()
      const path = values.device_path!
      const { id, capacityBytes } = await mdm.request('addDevice', {
        sds: sdsOf(now, values).id,
        pool: poolOf(now, values).id,
        path,
        ...(values.device_name === undefined ? {} : { name: values.device_name }),
        ...(values.device_size === undefined ? {} : { sizeBytes: values.device_size }),
        ...(values.force_device_takeover ? { force: true } : {}),
      })
      return {
        text: `Successfully added device ${path} to SDS. New device ID: ${id}`,
        data: { id, path, capacityBytes },
      }
    },
  }),
  defineCommand({
    noun: 'device',
    action: 'rename',
    verb: 'rename_device',
    summary: 'Gives a device another name',
    options: { ...namesDevice, ...namesSds, new_name: nameValue('the new name') },
    choices: [oneDevice, anySds, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = deviceOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameDevice', { device: id, newName })
      return { text: `Successfully renamed device ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'device',
    action: 'remove',
    verb: 'remove_sds_device',
    summary: 'Removes a device; what it holds is copied elsewhere first',
    options: { ...namesDevice, ...namesSds },
    choices: [oneDevice, anySds],
    shorts,
    confirm: 'Remove the device?',
    async run(values, { mdm, report }) {
      const { id, path } = deviceOf(await report(), values)
      const { removed } = await mdm.request('removeDevice', { device: id })
      const text =
        removed === false
          ? `Started to remove device ${path}: it is drained first.`
          : `Successfully removed device ${path}.`
      return { text: `${text} Object ID ${id}`, data: { id, path, removed: removed !== false } }
    },
  }),
  defineCommand({
    noun: 'device',
    action: 'clear-error',
    verb: 'clear_sds_device_error',
    aliases: ['clear_device_error'],
    summary: 'Lets a failed device that works again take part again; it begins empty',
    options: { ...namesDevice, ...namesSds },
    choices: [oneDevice, anySds],
    shorts,
    async run(values, { mdm, report }) {
      const { id, path } = deviceOf(await report(), values)
      await mdm.request('clearDeviceError', { device: id })
      return { text: `Successfully cleared the error of device ${path}. Object ID ${id}`, data: { id, path } }
    },
  }),
  defineCommand({
    noun: 'device',
    action: 'modify-capacity',
    verb: 'modify_sds_device_capacity',
    aliases: ['modify_device_capacity'],
    summary: 'Takes in what the file or disk of a device has grown by',
    options: { ...namesDevice, ...namesSds },
    choices: [oneDevice, anySds],
    shorts,
    async run(values, { mdm, report }) {
      const { id, path, capacityBytes: beforeBytes } = deviceOf(await report(), values)
      const { capacityBytes } = await mdm.request('growDevice', { device: id })
      const sizes = `${formatSize(beforeBytes)} to ${formatSize(capacityBytes)}`
      const text =
        capacityBytes > beforeBytes
          ? `Successfully changed the capacity of device ${path} from ${sizes}.`
          : `Device ${path} has not grown: its capacity is ${formatSize(capacityBytes)}.`
      return { text: `${text} Object ID ${id}`, data: { id, path, beforeBytes, capacityBytes } }
    },
  }),
  defineCommand({
    noun: 'device',
    action: 'query',
    verb: 'query_device',
    summary: 'Shows a device',
    options: { ...namesDevice, ...namesSds },
    choices: [oneDevice, anySds],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const device = deviceOf(report, values)
      return { text: deviceTable(report, [device]), data: device }
    },
  }),
  defineCommand({
    noun: 'device',
    action: 'query-all',
    verb: 'query_all_devices',
    aliases: ['query_sds_device_info'],
    summary: 'Lists the devices, of all SDSs or of one',
    options: { ...namesSds, all_devices: flag('of all SDSs; the default') },
    choices: [optional('sds_id', 'sds_name', 'sds_ip', 'all_devices')],
    async run(values, context) {
      const report = await context.report()
      const one = values.sds_id ?? values.sds_name ?? values.sds_ip
      const sds = one === undefined ? null : sdsOf(report, values)
      const devices = report.devices.filter(device => sds === null || device.sdsId === sds.id)
      if (devices.length === 0 && sds)
        throw new StorageError('NOT_FOUND', {
          detail: `SDS ${sds.name} has no devices`,
          remedy: 'add one: --add_sds_device',
        })
      return { text: deviceTable(report, devices), data: devices }
    },
  }),
]

type Device = SystemReport['devices'][number]

/** Devices as a table: also shown under their SDS. */
export function deviceTable(report: SystemReport, devices: readonly Device[]): string {
  const rows = devices.map(device => [
    device.name,
    device.id,
    nameIn(report.sdss, device.sdsId),
    nameIn(report.pools, device.poolId),
    formatSize(device.capacityBytes),
    device.usage ? formatSize(device.usage.slotsUsed * chunkBytes) : null,
    stateOf(device),
    device.path,
  ])
  return formatTable(['Device', 'ID', 'SDS', 'Storage pool', 'Capacity', 'In use', 'State', 'Path'], rows)
}

function stateOf(device: Device): string {
  if (device.usage?.error) return `Error: ${device.usage.error}`
  if (!device.connected && device.state === 'ready') return 'Disconnected'
  return { pending: 'Pending', ready: 'Normal', failed: 'Failed', removing: 'Removing' }[device.state]
}
