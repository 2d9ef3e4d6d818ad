import type { Endpoint } from '../../model/objects.js'
import type { ClusterMdm, ClusterReport, MdmRole } from '../../wire/control.js'

/** The MDM cluster in ScaleIO's words and order, which monitoring programs take apart at commas and `: `. */
export function describeClusterOfMdms(from: Endpoint, report: ClusterReport): string {
  const { mode, state, active, replicas, detail, changing } = report
  const modeWord = mode === null ? 'N/A' : `${mode}_node`
  const lines = [
    'Cluster:',
    `    Mode: ${modeWord}, State: ${state}, Active: ${active.now}/${active.max}, Replicas: ${replicas.now}/${replicas.max}`,
    '    Virtual IPs: N/A',
  ]
  if (detail) lines.push(`    Why: ${detail}`)
  if (changing) lines.push('    Members are being added or removed')
  const mdms = report.mdms.length > 0 ? report.mdms : [itself(from, report)]
  const ofRole = (role: MdmRole) => mdms.filter(mdm => mdm.role === role)
  const section = (title: string, members: ClusterMdm[]) => {
    if (members.length > 0) lines.push(`${title}:`, ...members.flatMap(describeMember))
  }
  const masters = ofRole('Master')
  if (masters.length > 0) section('Master MDM', masters)
  else lines.push('Master MDM:', '    N/A')
  section('Slave MDMs', ofRole('Slave'))
  section('Tie-Breakers', ofRole('Tie Breaker'))
  section('Standby MDMs', ofRole('Standby'))
  return lines.join('\n')
}

function describeMember({ name, id, kind, role, endpoint, status, detail, release, membership }: ClusterMdm): string[] {
  const kindWord = kind === 'tieBreaker' ? 'Tie Breaker' : 'Manager'
  const addresses =
    kind === 'tieBreaker' ? `IPs: ${endpoint.host}` : `IPs: ${endpoint.host}, Management IPs: ${endpoint.host}`
  const state = role === 'Master' ? '' : `Status: ${status}, `
  const moving = membership === 'joining' || membership === 'leaving' ? `, Membership: ${membership}` : ''
  return [
    `    Name: ${name}, ID: 0x${id}${role === 'Standby' ? `, ${kindWord}` : ''}`,
    `        ${addresses}, Port: ${endpoint.port}${role === 'Master' ? ', Virtual IP interfaces: N/A' : ''}`,
    `        ${state}Version: ${release ?? 'N/A'}${moving}`,
    ...(detail ? [`        Why: ${detail}`] : []),
  ]
}

/** An MDM that knows of no others. */
function itself(from: Endpoint, { self, systemId, index }: ClusterReport): ClusterMdm {
  const { kind, name, role, release } = self
  const id = self.id ?? systemId ?? '0000000000000000'
  const membership = role === 'Standby' ? 'standby' : 'member'
  const known = { id: id as ClusterMdm['id'], name, kind, role, release, membership } as const
  return { ...known, endpoint: from, status: 'Normal', detail: null, index }
}
