import { StorageError } from '../base/errors.js'
import type { MdmId } from '../base/ids.js'
import { resolve } from '../core/mdm/index.js'
import type { Endpoint, Mdm as MdmRow } from '../model/index.js'
import { change } from './admin-handlers.js'
import { askOnce } from './ask-once.js'
import type { Mdm } from './context.js'
import { type Call, type Handlers, tools } from './handlers.js'

const attachTimeoutMs = 20_000
const changeTimeoutMs = 50_000
const handOverTimeoutMs = 5_000

/** The MDM cluster: who stands by, who is a member, who is master. */
export const clusterHandlers: Handlers<
  'addStandbyMdm' | 'removeStandbyMdm' | 'switchClusterMode' | 'replaceClusterMdm' | 'switchMdmOwnership' | 'renameMdm'
> = {
  addStandbyMdm: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const { name, endpoint, kind } = params
      const known = [...mdm.map.tables.mdms.values()].find(row => row.name === name && same(row.endpoint, endpoint))
      const inPlaceOf = known ? null : await lookAt(mdm, endpoint, kind)
      const { id } = await change(call, 'addMdm', () => ({ name, endpoint, mdmKind: kind, inPlaceOf }))
      await mdm.members.until('attaching the MDM', attachTimeoutMs, () => membershipOf(mdm, id) !== 'attaching')
      return { id }
    },
  },

  removeStandbyMdm: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const row = [...mdm.map.tables.mdms.values()].find(({ id, name }) => id === params.mdm || name === params.mdm)
      await change(call, 'removeMdm', ({ map }) => ({ id: resolve(map, 'mdms', params.mdm).id }))
      if (row) await detach(mdm, row)
      return {}
    },
  },

  switchClusterMode: {
    roles: tools,
    handle: async call => {
      const { mode, add = [], remove = [] } = call.params
      await changeCluster(call, { mode, add, remove })
      return {}
    },
  },

  replaceClusterMdm: {
    roles: tools,
    handle: async call => {
      const { add, remove } = call.params
      await changeCluster(call, { mode: null, add: [add], remove: [remove] })
      return {}
    },
  },

  switchMdmOwnership: {
    roles: tools,
    handle: async ({ mdm, params }) => {
      const row = resolve(mdm.map, 'mdms', params.mdm)
      if (row.id === mdm.node.identity.id) return {}
      checkSuccessor(mdm, row)
      if (!mdm.node.driver.transferTo(row.id))
        throw new StorageError('NOT_READY', { detail: 'a change of the master is under way', remedy: 'try again' })
      // The new master answers, asked again. A successor that is slow to stand is told again.
      await mdm.members.until('the change of the master', handOverTimeoutMs, () => {
        mdm.node.driver.transferTo(row.id)
        return false
      })
      return {}
    },
  },

  renameMdm: {
    roles: tools,
    handle: call =>
      change(call, 'renameMdm', ({ map }) => ({
        id: resolve(map, 'mdms', call.params.mdm).id,
        name: call.params.newName,
      })),
  },
}

const same = (one: Endpoint, two: Endpoint): boolean => one.host === two.host && one.port === two.port

const membershipOf = ({ map }: Mdm, id: MdmId) => map.tables.mdms.get(id)?.membership

/** Whether an MDM that can be attached waits there; returns the lost one that it takes the address of, if any. */
async function lookAt(mdm: Mdm, endpoint: Endpoint, kind: MdmRow['kind']): Promise<MdmId | null> {
  const rows = [...mdm.map.tables.mdms.values()]
  const other = rows.find(row => same(row.endpoint, endpoint))
  const { welcome } = await askOnce(mdm.cluster, endpoint)
  if (welcome.mdm.kind !== kind)
    throw new StorageError('BAD_ARGUMENT', {
      detail: `the MDM there is a ${welcome.mdm.kind} by its configuration`,
      kind,
      remedy: 'add it as what it is',
    })
  const { id } = welcome.mdm
  if (id === null) return other && !mdm.cluster.isReached(other.id) ? other.id : null
  const known = rows.find(row => row.id === id)
  if (known) throw new StorageError('ALREADY_EXISTS', { detail: 'the MDM there is attached already', name: known.name })
  // It was away when it was removed.
  await askOnce(mdm.cluster, endpoint, { name: 'detach', params: { id } })
  return null
}

/** It forgets what it has, so that another system may have it. One that is away keeps it. */
async function detach({ cluster, ports }: Mdm, { id, name, endpoint }: MdmRow): Promise<void> {
  await askOnce(cluster, endpoint, { name: 'detach', params: { id } }).catch(error =>
    ports.log.warn('mdm.notDetached', { mdm: name, error: String(error) }),
  )
}

async function changeCluster(
  call: Call<'switchClusterMode'> | Call<'replaceClusterMdm'>,
  { mode, add, remove }: { mode: 1 | 3 | 5 | null; add: string[]; remove: string[] },
): Promise<void> {
  const { mdm } = call
  const ids = (refs: string[]): MdmId[] => refs.map(ref => resolve(mdm.map, 'mdms', ref).id)
  const command = { mode, add: ids(add), remove: ids(remove) }
  checkReachable(mdm, command)
  await change(call as Call<'switchClusterMode'>, 'changeCluster', () => command)
  await mdm.members.until('the change of the cluster', changeTimeoutMs, () => mdm.members.isSettled)
}

/** Nobody who is away comes in; of those that are members afterwards none is away (of a replacement: a majority is there). */
function checkReachable(mdm: Mdm, { mode, add, remove }: { mode: number | null; add: MdmId[]; remove: MdmId[] }): void {
  const { cluster, map, node } = mdm
  const nameOf = (id: MdmId) => map.tables.mdms.get(id)!.name
  const isThere = (id: MdmId) => id === node.identity.id || (cluster.links.get(id)?.isUp ?? false)
  const refuse = (detail: string, away: MdmId[]) => {
    const remedy = 'bring it back first, or replace it'
    throw new StorageError('UNREACHABLE', { detail, mdm: away.map(nameOf).join(', '), remedy })
  }
  const newcomersAway = add.filter(id => !isThere(id))
  if (newcomersAway.length > 0) refuse('an MDM that is to be a member is not connected', newcomersAway)
  const rows = [...map.tables.mdms.values()].filter(
    ({ membership }) => membership === 'member' || membership === 'joining',
  )
  const after = [...new Set([...rows.map(({ id }) => id).filter(id => !remove.includes(id)), ...add])]
  const away = after.filter(id => !isThere(id))
  if (mode !== null && away.length > 0) refuse('a member of the cluster is not connected', away)
  if (away.length * 2 >= after.length) refuse('the cluster would have no majority', away)
}

function checkSuccessor({ members, cluster }: Mdm, { id, name, kind, membership }: MdmRow): void {
  if (kind !== 'manager' || (membership !== 'member' && membership !== 'leaving'))
    throw new StorageError('BAD_ARGUMENT', {
      detail: 'only a manager that is a member of the cluster can be master',
      name,
      remedy: 'name a slave, as query_cluster shows it',
    })
  if (!cluster.links.get(id)?.isUp) throw new StorageError('UNREACHABLE', { detail: 'the MDM is not connected', name })
  if (!members.isInStep(id))
    throw new StorageError('NOT_READY', {
      detail: 'the successor is not synchronized',
      name,
      remedy: 'wait until query_cluster shows it as normal',
    })
}
