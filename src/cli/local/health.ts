import type { SystemReport } from '../../wire/control.js'
import type { RunState } from './process-table.js'
import type { LocalState } from './state.js'

/** What is not as it should be, one sentence each, the most telling ones first. Empty: the cluster is healthy. */
export function problemsOf(
  state: LocalState,
  report: SystemReport | null,
  runStates: ReadonlyMap<string, RunState>,
): string[] {
  const problems: string[] = []
  for (const { name } of state.processes) {
    const is = runStates.get(name) ?? 'down'
    if (is !== 'running') problems.push(`${name} is ${is}`)
  }
  if (report === null) return [...problems, 'no MDM answers']
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
