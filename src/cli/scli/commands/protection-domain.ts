import { formatTable } from '../../format/table.js'
import { defineCommand, optional, required } from '../command.js'
import { sliceState } from '../describe.js'
import { domainIfGiven, domainOf, namesDomain } from '../select.js'
import { nameValue } from '../values.js'

const shorts = { id: 'protection_domain_id', name: 'protection_domain_name' } as const
const oneDomain = required('protection_domain_id', 'protection_domain_name')

export const protectionDomainCommands = [
  defineCommand({
    noun: 'protection-domain',
    action: 'add',
    verb: 'add_protection_domain',
    summary: 'Adds a protection domain',
    options: { protection_domain_name: nameValue('its name') },
    choices: [required('protection_domain_name')],
    shorts: { name: 'protection_domain_name' },
    async run(values, { mdm }) {
      const name = values.protection_domain_name!
      const { id } = await mdm.request('addProtectionDomain', { name })
      return { text: `Successfully created protection domain ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'protection-domain',
    action: 'rename',
    verb: 'rename_protection_domain',
    summary: 'Gives a protection domain another name',
    options: { ...namesDomain, new_name: nameValue('the new name') },
    choices: [oneDomain, required('new_name')],
    shorts,
    async run(values, { mdm, report }) {
      const { id } = domainOf(await report(), values)
      const newName = values.new_name!
      await mdm.request('renameProtectionDomain', { protectionDomain: id, newName })
      return { text: `Successfully renamed protection domain ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
  defineCommand({
    noun: 'protection-domain',
    action: 'remove',
    verb: 'remove_protection_domain',
    summary: 'Removes an empty protection domain',
    options: namesDomain,
    choices: [oneDomain],
    shorts,
    confirm: 'Remove the protection domain?',
    async run(values, { mdm, report }) {
      const { id, name } = domainOf(await report(), values)
      await mdm.request('removeProtectionDomain', { protectionDomain: id })
      return { text: `Successfully removed protection domain ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'protection-domain',
    action: 'query',
    verb: 'query_protection_domain',
    aliases: ['query_all_protection_domains'],
    summary: 'Shows a protection domain, or all of them, with their pools and SDSs',
    options: namesDomain,
    choices: [optional('protection_domain_id', 'protection_domain_name')],
    shorts,
    async run(values, context) {
      const report = await context.report()
      const chosen = domainIfGiven(report, values)
      const domains = chosen ? [chosen] : report.protectionDomains
      const data = domains.map(domain => ({
        ...domain,
        pools: report.pools.filter(pool => pool.protectionDomainId === domain.id),
        faultSets: report.faultSets.filter(faultSet => faultSet.protectionDomainId === domain.id),
        sdss: report.sdss.filter(sds => sds.protectionDomainId === domain.id),
      }))
      const rows = data.map(domain => [
        domain.name,
        domain.id,
        domain.faultSets.length,
        `${domain.sdss.filter(sds => sds.connected).length}/${domain.sdss.length}`,
        domain.pools.map(pool => `${pool.name}: ${sliceState(pool.slices)}`).join(', '),
      ])
      const head = ['Protection domain', 'ID', 'Fault sets', 'SDSs connected', 'Storage pools']
      return { text: formatTable(head, rows), data: chosen ? data[0] : data }
    },
  }),
]
