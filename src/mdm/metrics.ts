import type { MetricSample } from '../ports/index.js'
import type { Cluster } from './cluster.js'
import type { Mdm } from './context.js'
import { capacityOf, slicesOf } from './report.js'

/** One value per name and labels, now. What only the master knows is absent elsewhere. */
export function mdmMetrics(
  { node, links, masterId, identity, store }: Cluster,
  mdm: Mdm | null,
  connections: number,
): MetricSample[] {
  const voters = node?.driver.status.members.filter(({ isLearner }) => !isLearner) ?? []
  const samples = [
    gauge('is_master', '1 where this MDM is master', node?.isMaster ? 1 : 0),
    gauge('has_master', '1 where this MDM knows a master', masterId === null ? 0 : 1),
    gauge('term', 'term of the consensus', node?.role.term ?? 0),
    gauge('members', 'members of the cluster, by what this MDM knows', voters.length),
    gauge(
      'members_connected',
      'other MDMs that this one is connected to',
      [...links].filter(({ isUp }) => isUp).length,
    ),
    gauge('diverged', '1 where the state differs from the master’s', node?.failure ? 1 : 0),
    gauge('attached', '1 where this MDM belongs to a system', identity === null ? 0 : 1),
    gauge('map_version', 'index of the last log entry applied', node?.index ?? 0),
    gauge('log_entries', 'entries of the log since its last snapshot', store.entryCount),
    gauge('connections', 'connections of daemons, tools and other MDMs', connections),
  ]
  return mdm === null ? samples : [...samples, ...masterMetrics(mdm)]
}

const gauge = (name: string, help: string, value: number, labels?: Record<string, string>): MetricSample => ({
  name: `blockmesh_mdm_${name}`,
  help,
  kind: 'gauge',
  value,
  ...(labels ? { labels } : {}),
})

const counter = (name: string, help: string, value: number): MetricSample => ({
  ...gauge(name, help, value),
  kind: 'counter',
})

function masterMetrics(mdm: Mdm): MetricSample[] {
  const { map, proposer } = mdm
  const samples = [
    counter('commands_applied_total', 'commands applied since this process became master', proposer.commandsApplied),
    counter('commands_refused_total', 'commands refused since this process became master', proposer.commandsRefused),
  ]
  for (const [table, rows] of Object.entries(map.tables))
    samples.push(gauge('objects', 'objects of the system', rows.size, { table }))
  for (const pool of map.tables.pools.values()) {
    const labels = { pool: pool.name, poolId: pool.id }
    for (const [what, value] of Object.entries(capacityOf(mdm, pool)))
      samples.push(gauge(`pool_${snake(what)}`, `capacity of the pool: ${what}`, value, labels))
    for (const [state, value] of Object.entries(slicesOf(mdm, pool.id)))
      samples.push(gauge('pool_slices', 'slices of the pool', value, { ...labels, state }))
  }
  return samples
}

const snake = (name: string): string => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
