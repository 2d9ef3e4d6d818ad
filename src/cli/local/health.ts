import type { ClusterReport, SystemReport } from '../../wire/control.js'
import type { RunState } from './process-table.js'
import type { LocalState } from './state.js'

/** What is not as it should be, one sentence each, the most telling ones first. Empty: the cluster is healthy. */
export function problemsOf(
  state: LocalState,
  report: SystemReport | null,
  cluster: ClusterReport | null,
  runStates: ReadonlyMap<string, RunState>,
): string[] {
  const problems: string[] = []
  for (const { name } of state.processes) {
    const is = runStates.get(name) ?? 'down'
    if (is !== 'running') problems.push(`${name} is ${is}`)
  }
  problems.push(...clusterProblems(state, cluster))
  if (report === null) return [...problems, cluster === null ? 'no MDM answers' : 'no MDM is master']
  for (const sds of report.sdss) if (!sds.connected) problems.push(`${sds.name} is not connected to the MDM`)
  for (const process of state.processes)
    if (process.role === 'sdc' && !report.sdcs.some(sdc => sdc.name === process.name && sdc.connected))
      problems.push(`${process.name} is not connected to the MDM`)
  for (const device of report.devices) {
    const where = `device ${device.path}`
    if (device.state !== 'ready') problems.push(`${where} is ${device.state}`)
    else if (!device.connected) problems.push(`${where} is not open`)
    else if (device.usage?.error) problems.push(`${where}: ${device.usage.error}`)
  }
  for (const { name, slices } of report.pools) {
    if (slices.healthy === slices.total) continue
    const parts = (['joining', 'degraded', 'failed'] as const).filter(part => slices[part] > 0)
    problems.push(
      `pool ${name}: ${slices.healthy} of ${slices.total} slices are healthy` +
        (parts.length > 0 ? ` (${parts.map(part => `${slices[part]} ${part}`).join(', ')})` : ''),
    )
  }
  for (const mapping of report.mappings) {
    const sdc = report.sdcs.find(candidate => candidate.id === mapping.sdcId)
    const door = sdc?.exports.find(candidate => candidate.volumeId === mapping.volumeId)
    if (!sdc?.connected || (door && !door.error)) continue
    const volume = report.volumes.find(candidate => candidate.id === mapping.volumeId)
    problems.push(`volume ${volume?.name} at ${sdc.name}: ${door?.error ?? 'not exported yet'}`)
  }
  return problems
}

/** A cluster that was changed after it was made is as it is wanted, whatever it was made with. */
function clusterProblems({ provisioned, topology }: LocalState, cluster: ClusterReport | null): string[] {
  if (cluster === null) return []
  const problems: string[] = []
  if (!provisioned && cluster.mode !== topology.mdms)
    problems.push(`the MDM cluster has not ${topology.mdms} members yet`)
  if (cluster.changing) problems.push('members of the MDM cluster are being changed')
  if (cluster.state === 'Error') problems.push(`the MDM cluster: ${cluster.detail ?? 'there is no master'}`)
  else
    for (const { name, role, status, detail } of cluster.mdms)
      if (role !== 'Standby' && status !== 'Normal')
        problems.push(`MDM ${name} is ${status.toLowerCase()}${detail ? ` (${detail})` : ''}`)
  return problems
}
