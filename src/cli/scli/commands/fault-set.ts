import type { SystemReport } from '../../../wire/control.js'
import { formatTable } from '../../format/table.js'
import { defineCommand, optional, required } from '../command.js'
import { nameIn } from '../describe.js'
import { domainIfGiven, domainOf, faultSetOf, namesDomain, namesFaultSet } from '../select.js'
import { nameValue } from '../values.js'

const shorts = { id: 'fault_set_id', name: 'fault_set_name' } as const
const oneFaultSet = required('fault_set_id', 'fault_set_name')
const anyDomain = optional('protection_domain_id', 'protection_domain_name')

export const faultSetCommands = [
  defineCommand({
    noun: 'fault-set',
    action: 'add',
    verb: 'add_fault_set',
    summary: 'Adds a fault set: SDSs that are likely to fail together',
    options: { ...namesDomain, fault_set_name: nameValue('its name') },
    choices: [required('protection_domain_id', 'protection_domain_name'), required('fault_set_name')],
    shorts: { name: 'fault_set_name' },
    async run(values, { mdm, report }) {
      const domain = domainOf(await report(), values)
      const name = values.fault_set_name!
      const { id } = await mdm.request('addFaultSet', { protectionDomain: domain.id, name })
      return { text: `Successfully created fault set ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'fault-set',
    action: 'rename',
    verb: 'rename_fault_set',
    summary: 'Gives a fault set another name',
    options: { ...namesDomain, ...namesFaultSet, new_name: nameValue('the new name') },
    choices: [anyDomain, oneFaultSet, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = faultSetOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameFaultSet', { faultSet: id, newName })
      return { text: `Successfully renamed fault set ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'fault-set',
    action: 'remove',
    verb: 'remove_fault_set',
    summary: 'Removes an empty fault set',
    options: { ...namesDomain, ...namesFaultSet },
    choices: [anyDomain, oneFaultSet],
    shorts,
    confirm: 'Remove the fault set?',
    async run(values, { mdm, report }) {
      const { id, name } = faultSetOf(await report(), values)
      await mdm.request('removeFaultSet', { faultSet: id })
      return { text: `Successfully removed fault set ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'fault-set',
    action: 'query',
    verb: 'query_fault_set',
    summary: 'Shows a fault set and its SDSs',
    options: { ...namesDomain, ...namesFaultSet },
    choices: [anyDomain, oneFaultSet],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const faultSet = faultSetOf(report, values)
      return { text: table(report, [faultSet]), data: withSdss(report, faultSet) }
    },
  }),
  defineCommand({
    noun: 'fault-set',
    action: 'query-all',
    verb: 'query_all_fault_sets',
    summary: 'Lists the fault sets',
    options: namesDomain,
    choices: [anyDomain],
    async run(values, context) {
      const report = await context.report()
      const domain = domainIfGiven(report, values)
      const faultSets = report.faultSets.filter(candidate => !domain || candidate.protectionDomainId === domain.id)
      const text = `Query-all-fault-sets returned ${faultSets.length} fault sets.\n${table(report, faultSets)}`
      return { text, data: faultSets.map(faultSet => withSdss(report, faultSet)) }
    },
  }),
]

type Report = SystemReport
type FaultSet = Report['faultSets'][number]

const withSdss = (report: Report, faultSet: FaultSet) => ({
  ...faultSet,
  sdss: report.sdss.filter(sds => sds.faultSetId === faultSet.id),
})

function table(report: Report, faultSets: FaultSet[]): string {
  const rows = faultSets.map(faultSet => [
    faultSet.name,
    faultSet.id,
    nameIn(report.protectionDomains, faultSet.protectionDomainId),
    withSdss(report, faultSet)
      .sdss.map(sds => sds.name)
      .join(', '),
  ])
  return formatTable(['Fault set', 'ID', 'Protection domain', 'SDSs'], rows)
}
