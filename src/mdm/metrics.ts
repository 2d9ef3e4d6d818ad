import type { MetricSample } from '../ports/index.js'
import type { Mdm } from './context.js'
import { capacityOf, slicesOf } from './report.js'

/** One value per name and labels, now. */
export function mdmMetrics(mdm: Mdm): MetricSample[] {
  const { map, registry, proposer } = mdm
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
  const samples = [
    counter('commands_applied_total', 'commands applied since this process started', proposer.commandsApplied),
    counter('commands_refused_total', 'commands refused since this process started', proposer.commandsRefused),
    gauge('map_version', 'index of the last log entry applied', map.version),
    gauge('log_entries', 'entries of the log since its last snapshot', proposer.store.entriesSinceSnapshot),
    gauge('connections', 'connections of daemons and tools', registry.peers.size),
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
