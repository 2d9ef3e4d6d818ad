import type { SystemReport } from '../../../wire/control.js'
import { formatFacts, formatTable } from '../../format/table.js'
import { defineCommand, required } from '../command.js'
import { connectedWord, limitSource, limitWord, nameIn } from '../describe.js'
import { namesSdc, sdcOf } from '../select.js'
import { nameValue } from '../values.js'

const shorts = { id: 'sdc_id', name: 'sdc_name', guid: 'sdc_guid', ip: 'sdc_ip' } as const
const oneSdc = required('sdc_id', 'sdc_name', 'sdc_guid', 'sdc_ip')

export const sdcCommands = [
  defineCommand({
    noun: 'sdc',
    action: 'rename',
    verb: 'rename_sdc',
    summary: 'Gives an SDC another name',
    options: { ...namesSdc, new_name: nameValue('the new name') },
    choices: [oneSdc, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = sdcOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameSdc', { sdc: id, newName })
      return { text: `Successfully renamed SDC ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'sdc',
    action: 'remove',
    verb: 'remove_sdc',
    summary: 'Forgets an SDC that is disconnected and has no mappings',
    options: namesSdc,
    choices: [oneSdc],
    shorts,
    confirm: 'Remove the SDC?',
    async run(values, { mdm, report }) {
      const { id, name } = sdcOf(await report(), values)
      await mdm.request('removeSdc', { sdc: id })
      return { text: `Successfully removed SDC ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'sdc',
    action: 'query',
    verb: 'query_sdc',
    summary: 'Shows an SDC and its volumes',
    options: namesSdc,
    choices: [oneSdc],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const sdc = sdcOf(report, values)
      return { text: facts(report, sdc), data: { ...sdc, mappings: mappingsOf(report, sdc) } }
    },
  }),
  defineCommand({
    noun: 'sdc',
    action: 'query-all',
    verb: 'query_all_sdc',
    aliases: ['query_all_sdcs'],
    summary: 'Lists the SDCs',
    options: {},
    async run(_values, context) {
      const report = await context.report()
      const rows = report.sdcs.map(sdc => [
        sdc.name,
        sdc.id,
        sdc.address?.host,
        connectedWord(sdc.connected),
        mappingsOf(report, sdc).length,
        sdc.guid.toUpperCase(),
      ])
      const list = formatTable(['SDC', 'ID', 'IP', 'State', 'Volumes', 'GUID'], rows)
      return { text: `Query all SDC returned ${report.sdcs.length} SDC nodes.\n${list}`, data: report.sdcs }
    },
  }),
]

type Sdc = SystemReport['sdcs'][number]

const mappingsOf = (report: SystemReport, sdc: Sdc) => report.mappings.filter(mapping => mapping.sdcId === sdc.id)

function facts(report: SystemReport, sdc: Sdc): string {
  const lines = [
    `SDC ${sdc.name} (Id: ${sdc.id})`,
    formatFacts([
      ['State', connectedWord(sdc.connected)],
      ['IP', sdc.address?.host],
      ['GUID', sdc.guid.toUpperCase()],
    ]),
  ]
  const rows = mappingsOf(report, sdc).map(mapping => {
    const door = sdc.exports.find(candidate => candidate.volumeId === mapping.volumeId)
    return [
      nameIn(report.volumes, mapping.volumeId),
      mapping.volumeId,
      mapping.accessMode,
      limitWord(mapping.effectiveIops),
      limitWord(mapping.effectiveBandwidthKbPerSec),
      limitSource(mapping),
      door?.device,
      door?.error ?? door?.uri,
    ]
  })
  if (rows.length === 0) return lines.join('\n')
  const head = ['Volume', 'ID', 'Access', 'IOPS limit', 'KB/s limit', 'Limits', 'Device', 'NBD']
  return [...lines, 'Mapped volumes:', formatTable(head, rows)].join('\n')
}
