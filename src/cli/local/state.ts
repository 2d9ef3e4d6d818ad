import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { StorageError } from '../../base/errors.js'
import type { Endpoint } from '../../model/objects.js'
import { writeAtomically } from '../format/atomic.js'
import { type Topology, topologyDefault } from './options.js'

export type Role = 'mdm' | 'sds' | 'sdc'

/** One run of a daemon: enough to tell it from every other process that may ever have the same pid. */
export interface ProcessIdentity {
  pid: number
  /** From /proc/PID/stat: clock ticks between the host's start and the process's. */
  startTicks: number
  bootId: string
}

export interface LocalProcess {
  name: string
  role: Role
  /** What it speaks with others on; an SDC has none but its NBD socket. */
  address: Endpoint | null
  metrics: Endpoint
  nbdSocket: string | null
  /** null: not running, as far as this file knows. */
  identity: ProcessIdentity | null
}

/**
 * What `blockmesh local` remembers of a cluster, in DIR/local.json. Programs read `cluster.json`, not this. Invariant:
 * every process that was started is written here before anything else is done with it.
 */
export interface LocalState {
  version: 1
  topology: Topology
  /** Known once the MDM has answered. */
  systemId: string | null
  /** True once everything of the topology has been created, so that what is removed later stays removed. */
  provisioned: boolean
  processes: LocalProcess[]
}

const statePath = (dir: string): string => join(resolve(dir), 'local.json')

export const processDir = (dir: string, name: string): string => join(resolve(dir), name)
export const configPath = (dir: string, name: string): string => join(processDir(dir, name), `${name}.yaml`)
export const logPath = (dir: string, name: string): string => join(processDir(dir, name), `${name}.log`)
export const devicePath = (dir: string, sds: string, device: number): string =>
  join(processDir(dir, sds), `device-${device}`)

export const hasCluster = (dir: string): boolean => existsSync(statePath(dir))

export function readState(dir: string): LocalState {
  if (!hasCluster(dir))
    throw new StorageError('NOT_FOUND', {
      detail: `there is no local cluster in ${resolve(dir)}`,
      remedy: `start one with: blockmesh local up --dir ${dir}`,
    })
  let state: LocalState
  try {
    state = JSON.parse(readFileSync(statePath(dir), 'utf8')) as LocalState
  } catch (cause) {
    throw new StorageError('CONFIGURATION', { detail: `${statePath(dir)} cannot be read: ${cause}` }, { cause })
  }
  if (state.version !== 1 || !Array.isArray(state.processes))
    throw new StorageError('CONFIGURATION', {
      detail: `${statePath(dir)} is not of a version that this program knows`,
      remedy: 'use the program that made it',
    })
  // One that was made before there was something to choose has the default.
  state.topology = { ...topologyDefault, ...state.topology }
  return state
}

export const writeState = (dir: string, state: LocalState): void =>
  writeAtomically(statePath(dir), `${JSON.stringify(state, null, 2)}\n`)

export function processOf(state: LocalState, name: string): LocalProcess {
  const found = state.processes.find(process => process.name === name)
  if (found) return found
  throw new StorageError('NOT_FOUND', {
    detail: `there is no process ${name}`,
    remedy: `name one of ${state.processes.map(process => process.name).join(', ')}`,
  })
}

export const spell = ({ host, port }: Endpoint): string => `${host}:${port}`

export const mdmAddresses = (state: LocalState): Endpoint[] =>
  state.processes.filter(process => process.role === 'mdm').map(process => process.address!)
