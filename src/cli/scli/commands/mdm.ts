import { StorageError } from '../../../base/errors.js'
import type { ClusterMode, MdmKind } from '../../../model/objects.js'
import type { ClusterMdm, ClusterReport } from '../../../wire/control.js'
import { mdmPortDefault } from '../arguments.js'
import { type CommandContext, defineCommand, required } from '../command.js'
import { describeClusterOfMdms } from '../describe-cluster.js'
import { mdmsOf } from '../select.js'
import { nameValue, oneOf, parseAddress, text, wholeNumber } from '../values.js'

/** The options `PREFIX_id`, `PREFIX_name` and `PREFIX_ip`, each of which names one MDM, or several with commas. */
const naming = <P extends string>(prefix: P, help: string) =>
  ({
    [`${prefix}_id`]: text('ID', `${help}, by id`),
    [`${prefix}_name`]: text('NAME', `${help}, by name`),
    [`${prefix}_ip`]: text('IP[:PORT]', `${help}, by address`),
  }) as Record<`${P}_${'id' | 'name' | 'ip'}`, ReturnType<typeof text>>

const oneOfNames = (prefix: string) => [`${prefix}_id`, `${prefix}_name`, `${prefix}_ip`]

const modes = { '1_node': 1, '3_node': 3, '5_node': 5 } as const satisfies Record<string, ClusterMode>

export const mdmCommands = [
  defineCommand({
    noun: 'system',
    action: 'query-cluster',
    verb: 'query_cluster',
    aliases: ['query_mdm_cluster'],
    summary: 'Shows the MDM cluster; any of its members answers',
    options: {},
    needsNoMaster: true,
    async run(_values, { cluster }) {
      const { from, report } = await cluster()
      const warnings = report.self.role === 'Master' ? [] : [notFromMaster(report)]
      return { text: describeClusterOfMdms(from, report), data: { ...report, answeredBy: from }, warnings }
    },
  }),
  defineCommand({
    noun: 'system',
    action: 'switch-cluster-mode',
    verb: 'switch_cluster_mode',
    summary: 'Changes how many MDMs decide: 1, 3 (two managers, a tie breaker) or 5 (three and two)',
    options: {
      cluster_mode: oneOf(Object.keys(modes) as (keyof typeof modes)[], 'how many members'),
      ...naming('add_slave_mdm', 'managers that stand by and become members'),
      ...naming('add_tb', 'tie breakers that stand by and become members'),
      ...naming('remove_slave_mdm', 'managers that are members and stand by from then on'),
      ...naming('remove_tb', 'tie breakers that are members and stand by from then on'),
    },
    choices: [required('cluster_mode')],
    shorts: { mode: 'cluster_mode' },
    async run(values, context) {
      const now = await report(context)
      const named = (what: 'add' | 'remove') => [
        ...ofKind('manager', mdmsOf(now, values, `${what}_slave_mdm`)),
        ...ofKind('tieBreaker', mdmsOf(now, values, `${what}_tb`)),
      ]
      const add = named('add').map(({ id }) => id)
      const remove = named('remove').map(({ id }) => id)
      const mode = modes[values.cluster_mode!]
      await context.mdm.request('switchClusterMode', {
        mode,
        ...(add.length > 0 ? { add } : {}),
        ...(remove.length > 0 ? { remove } : {}),
      })
      return { text: 'Successfully switched the cluster mode', data: { mode, add, remove } }
    },
  }),
  defineCommand({
    noun: 'mdm',
    action: 'add',
    verb: 'add_standby_mdm',
    summary: 'Attaches an MDM that runs and belongs to no system; it stands by until it is made a member',
    options: {
      new_mdm_ip: text('IP[:PORT]', `where it listens (port ${mdmPortDefault} unless said otherwise)`),
      new_mdm_port: wholeNumber('PORT', 'its port', { min: 1, max: 65_535 }),
      new_mdm_name: nameValue('its name in this system'),
      mdm_role: oneOf(['manager', 'tb'], 'what it was installed as'),
    },
    choices: [required('new_mdm_ip'), required('new_mdm_name'), required('mdm_role')],
    shorts: { ip: 'new_mdm_ip', port: 'new_mdm_port', name: 'new_mdm_name', role: 'mdm_role' },
    async run(values, { mdm }) {
      const endpoint = addressOf(values.new_mdm_ip!, values.new_mdm_port)
      const name = values.new_mdm_name!
      const kind: MdmKind = values.mdm_role === 'tb' ? 'tieBreaker' : 'manager'
      const { id } = await mdm.request('addStandbyMdm', { name, endpoint, kind })
      return { text: `Successfully added a standby MDM. Object ID ${id}`, data: { id, name, endpoint, kind } }
    },
  }),
  defineCommand({
    noun: 'mdm',
    action: 'remove',
    verb: 'remove_standby_mdm',
    summary: 'Takes an MDM that stands by out of the system',
    options: naming('remove_mdm', 'the MDM'),
    choices: [required(...oneOfNames('remove_mdm'))],
    shorts: { id: 'remove_mdm_id', name: 'remove_mdm_name', ip: 'remove_mdm_ip' },
    confirm: 'Remove the MDM? It forgets the configuration.',
    async run(values, context) {
      const { id, name } = one(mdmsOf(await report(context), values, 'remove_mdm'))
      await context.mdm.request('removeStandbyMdm', { mdm: id })
      return { text: `Successfully removed the standby MDM ${name}. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'mdm',
    action: 'replace',
    verb: 'replace_cluster_mdm',
    summary: 'Puts an MDM that stands by in the place of a member of its kind, which may be lost',
    options: {
      ...naming('add_slave_mdm', 'the manager that comes'),
      ...naming('add_tb', 'the tie breaker that comes'),
      ...naming('remove_slave_mdm', 'the manager that goes'),
      ...naming('remove_tb', 'the tie breaker that goes'),
    },
    choices: [
      required(...oneOfNames('add_slave_mdm'), ...oneOfNames('add_tb')),
      required(...oneOfNames('remove_slave_mdm'), ...oneOfNames('remove_tb')),
    ],
    async run(values, context) {
      const now = await report(context)
      const named = (what: 'add' | 'remove') =>
        one([
          ...ofKind('manager', mdmsOf(now, values, `${what}_slave_mdm`)),
          ...ofKind('tieBreaker', mdmsOf(now, values, `${what}_tb`)),
        ])
      const [add, remove] = [named('add'), named('remove')]
      await context.mdm.request('replaceClusterMdm', { add: add.id, remove: remove.id })
      const data = { add: add.id, remove: remove.id }
      return { text: `Successfully replaced MDM ${remove.name} by ${add.name}`, data }
    },
  }),
  defineCommand({
    noun: 'mdm',
    action: 'switch-ownership',
    verb: 'switch_mdm_ownership',
    summary: 'Makes another MDM the master',
    options: naming('new_master_mdm', 'the MDM that is to be master'),
    choices: [required(...oneOfNames('new_master_mdm'))],
    shorts: { id: 'new_master_mdm_id', name: 'new_master_mdm_name', ip: 'new_master_mdm_ip' },
    async run(values, context) {
      const { id, name } = one(mdmsOf(await report(context), values, 'new_master_mdm'))
      await context.mdm.request('switchMdmOwnership', { mdm: id })
      return { text: `Successfully switched the MDM ownership to ${name}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'mdm',
    action: 'rename',
    verb: 'rename_mdm',
    summary: 'Gives an MDM another name',
    options: { ...naming('mdm', 'the MDM'), new_name: nameValue('the new name') },
    choices: [required('mdm_id', 'mdm_name'), required('new_name')],
    shorts: { id: 'mdm_id', name: 'mdm_name' },
    async run(values, context) {
      const { id } = one(mdmsOf(await report(context), values, 'mdm'))
      const newName = values.new_name!
      await context.mdm.request('renameMdm', { mdm: id, newName })
      return { text: `Successfully renamed MDM ${id} to ${newName}`, data: { id, name: newName } }
    },
  }),
]

const report = ({ mdm }: CommandContext): Promise<ClusterReport> => mdm.request('queryCluster', {})

function one(mdms: ClusterMdm[]): ClusterMdm {
  if (mdms.length === 1) return mdms[0]!
  throw new StorageError('BAD_ARGUMENT', {
    detail: 'name one MDM only',
    named: mdms.map(({ name }) => name).join(', '),
  })
}

const kindWord: Record<MdmKind, string> = { manager: 'manager', tieBreaker: 'tie breaker' }

function ofKind(kind: MdmKind, mdms: ClusterMdm[]): ClusterMdm[] {
  for (const mdm of mdms)
    if (mdm.kind !== kind)
      throw new StorageError('BAD_ARGUMENT', {
        detail: `${mdm.name} is a ${kindWord[mdm.kind]}, not a ${kindWord[kind]}`,
        remedy: 'managers are named by the options with slave_mdm, tie breakers by those with tb',
      })
  return mdms
}

function addressOf(given: string, port: number | undefined) {
  try {
    return { ...parseAddress(given, mdmPortDefault), ...(port === undefined ? {} : { port }) }
  } catch (error) {
    throw new StorageError('BAD_ARGUMENT', { detail: `--new_mdm_ip ${given}: ${(error as Error).message}` })
  }
}

const notFromMaster = ({ self, state }: ClusterReport): string =>
  `Warning: ${self.name || 'the MDM that answers'} is not the master${state === 'Error' ? ', and there is none' : ''}; how far the others are, only a master knows`
