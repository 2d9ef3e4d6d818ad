import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '../../base/errors.js'
import type { Endpoint } from '../../model/objects.js'
import type { SystemReport } from '../../wire/control.js'
import { writeAtomically } from '../format/atomic.js'
import { runStateOf } from './process-table.js'
import { type LocalState, logPath, mdmAddresses, readState, spell } from './state.js'

/** DIR/cluster.json, which other programs may rely on: the format is fixed (see docs/OPERATIONS.md). */
export interface ClusterFile {
  systemId: string | null
  /** null: this cluster has none. */
  gateway: { url: string; user: string; password: string; caFile: string } | null
  /** `pid` is null while the process is not running. The `address` of an SDC is its NBD socket, `unix:PATH`. */
  processes: {
    name: string
    role: string
    pid: number | null
    address: string
    metrics: string
    log: string
  }[]
  devices: { id: string; sds: string; faultSet: string | null; path: string }[]
  /** One entry for each mapping; a volume that is not mapped has one without `sdc` and `uri`. */
  volumes: {
    id: string
    name: string
    sizeBytes: number
    sdc: string | null
    uri: string | null
    device: string | null
  }[]
}

export const clusterFilePath = (dir: string): string => join(resolve(dir), 'cluster.json')

/** `report` null (no MDM answers): devices and volumes stay as the file has them. */
export function describeCluster(dir: string, state: LocalState, report: SystemReport | null): ClusterFile {
  const before = readClusterFile(dir)
  return {
    systemId: report?.system.id ?? state.systemId,
    gateway: null,
    processes: state.processes.map(process => ({
      name: process.name,
      role: process.role,
      pid: runStateOf(process.identity) === 'down' ? null : process.identity!.pid,
      address: process.address ? spell(process.address) : `unix:${process.nbdSocket}`,
      metrics: `http://${spell(process.metrics)}/metrics`,
      log: logPath(dir, process.name),
    })),
    devices: report ? devicesOf(report) : (before?.devices ?? []),
    volumes: report ? volumesOf(report) : (before?.volumes ?? []),
  }
}

function devicesOf(report: SystemReport): ClusterFile['devices'] {
  return report.devices.map(device => {
    const sds = report.sdss.find(candidate => candidate.id === device.sdsId)
    const faultSet = report.faultSets.find(candidate => candidate.id === sds?.faultSetId)
    return { id: device.id, sds: sds?.name ?? device.sdsId, faultSet: faultSet?.name ?? null, path: device.path }
  })
}

function volumesOf(report: SystemReport): ClusterFile['volumes'] {
  return report.volumes.flatMap(({ id, name, sizeBytes }) => {
    const mappings = report.mappings.filter(mapping => mapping.volumeId === id)
    if (mappings.length === 0) return [{ id, name, sizeBytes, sdc: null, uri: null, device: null }]
    return mappings.map(mapping => {
      const sdc = report.sdcs.find(candidate => candidate.id === mapping.sdcId)
      const door = sdc?.exports.find(candidate => candidate.volumeId === id)
      return { id, name, sizeBytes, sdc: sdc?.name ?? null, uri: door?.uri ?? null, device: door?.device ?? null }
    })
  })
}

export function readClusterFile(dir: string): ClusterFile | null {
  if (!existsSync(clusterFilePath(dir))) return null
  return JSON.parse(readFileSync(clusterFilePath(dir), 'utf8')) as ClusterFile
}

export function writeClusterFile(dir: string, state: LocalState, report: SystemReport | null): ClusterFile {
  const file = describeCluster(dir, state, report)
  writeAtomically(clusterFilePath(dir), `${JSON.stringify(file, null, 2)}\n`)
  return file
}

/** Where the MDM of the local cluster in `dir` listens. */
export function addressOfCluster(dir: string): { addresses: Endpoint[]; systemId?: string; remedy: string } {
  const state = readState(dir)
  const remedy = `see what runs with: blockmesh local status --dir ${dir}`
  return { addresses: mdmAddresses(state), remedy, ...(state.systemId ? { systemId: state.systemId } : {}) }
}

/** How long a change of the volumes may take to show at a connected SDC before `cluster.json` is written without it. */
const exportWaitMs = 5_000

/** Writes `cluster.json` again after volumes or mappings have changed, with the doors that the SDCs then have. */
export async function refreshClusterFile(dir: string, report: () => Promise<SystemReport>): Promise<void> {
  const endMs = performance.now() + exportWaitMs
  let now = await report()
  while (!exportsMatch(now) && performance.now() < endMs) {
    await sleep(50)
    now = await report()
  }
  writeClusterFile(dir, readState(dir), now)
}

/** True when every connected SDC exports exactly what is mapped to it. */
export function exportsMatch(report: SystemReport): boolean {
  return report.sdcs.every(sdc => {
    if (!sdc.connected) return true
    const want = report.mappings.filter(mapping => mapping.sdcId === sdc.id).map(mapping => mapping.volumeId)
    const have = sdc.exports.map(door => door.volumeId as string)
    return want.length === have.length && want.every(volumeId => have.includes(volumeId))
  })
}

/** The entry of a volume, for a program that wants to use it. */
export function volumeEntry(file: ClusterFile, name: string): ClusterFile['volumes'][number] {
  const entry = file.volumes.find(volume => volume.name === name)
  if (entry) return entry
  throw new StorageError('NOT_FOUND', { detail: `the cluster has no volume ${name}` })
}
