import { release } from '../base/release.js'
import { modeOf } from '../core/mdm/index.js'
import type { Member } from '../core/raft/index.js'
import type { ClusterMode, Mdm } from '../model/index.js'
import type { ClusterMdm, ClusterReport, MdmRole, MdmStatus } from '../wire/control.js'
import type { Cluster } from './cluster.js'

/** The cluster as this MDM sees it. */
export function clusterReport(cluster: Cluster): ClusterReport {
  const { node, identity, config, masterId } = cluster
  const voters = node?.driver.status.members.filter(({ isLearner }) => !isLearner) ?? []
  const mdms = rowsOf(cluster, voters)
    .map(row => describe(cluster, row, voters))
    .sort((a, b) => rank(a) - rank(b))
  const voting = mdms.filter(({ id }) => voters.some(voter => voter.id === id))
  const well = voting.filter(({ status }) => status === 'Normal')
  const managers = (list: ClusterMdm[]) => list.filter(({ kind }) => kind === 'manager').length
  const changing = mdms.some(({ membership }) => membership === 'joining' || membership === 'leaving')
  const self = mdms.find(({ id }) => id === identity?.id)
  const system = cluster.map?.tables.systems.values().next().value
  const unwell = voting.filter(({ status }) => status !== 'Normal')
  return {
    // One that was imported into has kept its members' identity.
    systemId: system?.id ?? identity?.systemId ?? null,
    systemName: system?.name ?? null,
    mode: modeOf(mdms) ?? ([1, 3, 5].includes(voters.length) ? (voters.length as ClusterMode) : null),
    state:
      identity === null
        ? 'Not attached'
        : masterId === null
          ? 'Error'
          : unwell.length > 0 || changing
            ? 'Degraded'
            : 'Normal',
    detail: detailOf(cluster, unwell, changing),
    changing,
    active: { now: well.length, max: voting.length },
    replicas: { now: managers(well), max: managers(voting) },
    self: {
      id: identity?.id ?? null,
      name: self?.name ?? config.name,
      kind: config.kind,
      role: self?.role ?? (config.kind === 'tieBreaker' && voters.length > 0 ? 'Tie Breaker' : 'Standby'),
      release,
    },
    masterId,
    term: node?.role.term ?? 0,
    index: node?.index ?? 0,
    mdms,
  }
}

function detailOf({ identity, masterId }: Cluster, unwell: readonly ClusterMdm[], changing: boolean): string | null {
  if (identity === null) return 'this MDM waits to be attached to a system'
  if (masterId === null) return 'no majority of the members reach each other: nothing can be changed'
  if (unwell.length > 0) return unwell.map(({ name, status }) => `${name}: ${status.toLowerCase()}`).join(', ')
  return changing ? 'members are being changed' : null
}

/** A tie breaker has no map: it knows whom it has met. */
function rowsOf(cluster: Cluster, voters: readonly Member[]): Mdm[] {
  if (cluster.map !== null) return cluster.mdms
  return voters.map(({ id, kind }) => ({
    id: id as Mdm['id'],
    kind,
    name: id === cluster.identity?.id ? cluster.config.name : (cluster.nameOf(id) ?? id),
    endpoint: (id === cluster.identity?.id ? cluster.endpoint : cluster.endpointOf(id as Mdm['id'])) ?? {
      host: '?',
      port: 0,
    },
    membership: 'member' as const,
  }))
}

const ranks: MdmRole[] = ['Master', 'Slave', 'Tie Breaker', 'Standby']
const rank = ({ role }: ClusterMdm): number => ranks.indexOf(role)

function describe(cluster: Cluster, row: Mdm, voters: readonly Member[]): ClusterMdm {
  const isGone = row.id === cluster.identity?.id && cluster.node?.isRemoved
  const votes = !isGone && voters.some(({ id }) => id === row.id)
  const role: MdmRole = !votes
    ? 'Standby'
    : row.id === cluster.masterId
      ? 'Master'
      : row.kind === 'tieBreaker'
        ? 'Tie Breaker'
        : 'Slave'
  const isSelf = row.id === cluster.identity?.id
  const link = cluster.links.get(row.id)
  const index = isSelf ? cluster.node!.index : (link?.status?.index ?? null)
  return {
    ...row,
    role,
    ...(isSelf ? ownStatus(cluster) : statusOf(cluster, row)),
    release: isSelf ? release : (link?.release ?? null),
    index,
  }
}

type Status = { status: MdmStatus; detail: string | null }

function ownStatus({ node, masterId }: Cluster): Status {
  if (node?.failure) return { status: 'Error', detail: node.failure }
  return masterId === null
    ? { status: 'Not synchronized', detail: 'it has not heard of a master' }
    : { status: 'Normal', detail: null }
}

function statusOf(cluster: Cluster, row: Mdm): Status {
  const link = cluster.links.get(row.id)
  if (link?.isUnattached && row.membership !== 'attaching')
    return { status: 'Error', detail: 'it has lost its data: replace it' }
  if (!cluster.isReached(row.id)) return { status: 'Disconnected', detail: link?.failure ?? null }
  if (link?.status?.failure) return { status: 'Error', detail: link.status.failure }
  const { node } = cluster
  const progress = node?.isMaster ? node.driver.status.progress[row.id] : undefined
  if (progress === undefined || row.kind === 'tieBreaker') return { status: 'Normal', detail: null }
  // Normal means that without the master it could go on.
  if (progress.isActive && progress.isInStep) return { status: 'Normal', detail: null }
  const { commit } = node!.driver.status
  return { status: 'Not synchronized', detail: `it has ${progress.match} of ${commit} entries` }
}
