import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '../../base/errors.js'
import type { Endpoint } from '../../model/objects.js'
import type { ClusterReport, SystemReport } from '../../wire/control.js'
import { askMdmCluster, withMdm } from '../mdm-session.js'
import { readClusterFile, writeClusterFile } from './cluster-file.js'
import { detachKernelDevices, findKernelDevices } from './kernel-devices.js'
import { type RunState, runStateOf, signalProcess, startProcess, waitUntilDown } from './process-table.js'
import { type LocalProcess, type LocalState, mdmAddresses, processOf, readState, spell, writeState } from './state.js'
import { ended } from './up.js'

/** How long a daemon may take to stop by itself; it gives up before that. */
const stopWaitMs = 35_000
/** The same as for a whole cluster: on a busy machine a program takes long to begin. */
const startWaitMs = 120_000

/** The state of the system as its master MDM tells it, or null if none answers soon. */
export async function askReport(state: LocalState, connectTimeoutMs = 3_000): Promise<SystemReport | null> {
  const where = { addresses: mdmAddresses(state), systemId: state.systemId, connectTimeoutMs }
  return ifAnyRuns(state, () => withMdm(where, mdm => mdm.request('query', {}, { timeoutMs: 10_000 })))
}

/** The MDM cluster as any of its members tells it, or null if none answers soon. */
export async function askCluster(state: LocalState): Promise<ClusterReport | null> {
  const where = { addresses: mdmAddresses(state), systemId: state.systemId }
  return ifAnyRuns(state, async () => (await askMdmCluster(where)).report)
}

async function ifAnyRuns<T>(state: LocalState, ask: () => Promise<T>): Promise<T | null> {
  const runs = state.processes.some(process => process.role === 'mdm' && runStateOf(process.identity) === 'running')
  if (!runs) return null
  try {
    return await ask()
  } catch (error) {
    // An MDM in an empty directory is another system's until it has imported this one's configuration.
    const none = ['UNREACHABLE', 'TIMED_OUT', 'WRONG_SYSTEM']
    if (error instanceof StorageError && none.includes(error.code)) return null
    throw error
  }
}

export const runStatesOf = (state: LocalState): Map<string, RunState> =>
  new Map(state.processes.map(process => [process.name, runStateOf(process.identity)]))

/** SIGTERM, clients first, then SDSs, then MDMs. Returns the names of those that had to be killed. */
export async function bringDown(dir: string, progress: (sentence: string) => void): Promise<string[]> {
  const state = readState(dir)
  const killed: string[] = []
  const devices = await findKernelDevices(readClusterFile(dir))
  for (const { path, holders } of devices.held)
    progress(`${path} is in use (${holders}): it stays, and its I/O waits until the cluster is up again`)
  for (const role of ['sdc', 'sds', 'mdm'] as const) {
    const group = state.processes.filter(process => process.role === role && runStateOf(process.identity) !== 'down')
    if (group.length > 0) progress(`stopping ${group.map(process => process.name).join(', ')}`)
    for (const process of group) terminate(process)
    await Promise.all(
      group.map(async process => {
        if (await waitUntilDown(process.identity, stopWaitMs)) return
        killed.push(process.name)
        signalProcess(process.identity, 'SIGKILL')
        await waitUntilDown(process.identity, stopWaitMs)
      }),
    )
    if (role === 'sdc') for (const failure of await detachKernelDevices(devices)) progress(failure)
  }
  for (const process of state.processes) process.identity = null
  writeState(dir, state)
  writeClusterFile(dir, state, null)
  return killed
}

/** A suspended process would take the signal only after it goes on. */
function terminate(process: LocalProcess): void {
  signalProcess(process.identity, 'SIGTERM')
  signalProcess(process.identity, 'SIGCONT')
}

export type ProcessVerb = 'kill' | 'terminate' | 'stop' | 'cont' | 'start'

/** Does to one process what the verb says; returns a sentence about it. */
export async function changeProcess(dir: string, name: string, verb: ProcessVerb): Promise<string> {
  const state = readState(dir)
  const process = processOf(state, name)
  const is = runStateOf(process.identity)
  if (verb === 'start') return startOne(dir, state, process, is)
  if (is === 'down')
    throw new StorageError('NOT_FOUND', {
      detail: `${name} is not running`,
      remedy: `start it with: blockmesh local start ${name} --dir ${dir}`,
    })
  const { pid } = process.identity!
  if (verb === 'stop' || verb === 'cont') {
    signalProcess(process.identity, verb === 'stop' ? 'SIGSTOP' : 'SIGCONT')
    await untilState(process, verb === 'stop' ? 'suspended' : 'running')
    return verb === 'stop' ? `${name} (pid ${pid}) is suspended` : `${name} (pid ${pid}) goes on`
  }
  if (verb === 'kill') signalProcess(process.identity, 'SIGKILL')
  else terminate(process)
  if (!(await waitUntilDown(process.identity, stopWaitMs)))
    throw new StorageError('TIMED_OUT', {
      detail: `${name} (pid ${pid}) did not end within ${stopWaitMs / 1000} s`,
      remedy: `look into its log, or end it with: blockmesh local kill ${name} --dir ${dir}`,
    })
  process.identity = null
  writeState(dir, state)
  rememberPids(dir, state)
  return verb === 'kill' ? `${name} (pid ${pid}) was killed` : `${name} (pid ${pid}) has stopped`
}

async function startOne(dir: string, state: LocalState, process: LocalProcess, is: RunState): Promise<string> {
  const { name } = process
  if (is !== 'down')
    throw new StorageError('ALREADY_EXISTS', { detail: `${name} is running already`, pid: process.identity!.pid })
  process.identity = startProcess(dir, name, process.role)
  writeState(dir, state)
  rememberPids(dir, state)
  await untilServing(dir, state, process)
  writeClusterFile(dir, state, await askReport(state))
  return `${name} has started (pid ${process.identity.pid})`
}

async function untilState(process: LocalProcess, want: RunState): Promise<void> {
  const endMs = performance.now() + 5_000
  while (runStateOf(process.identity) !== want) {
    if (performance.now() > endMs)
      throw new StorageError('TIMED_OUT', { detail: `${process.name} is not ${want}`, pid: process.identity!.pid })
    await sleep(10)
  }
}

/** The daemon answers, and, if there is an MDM to ask, is connected to it. What it then catches up on is not waited for. */
async function untilServing(dir: string, state: LocalState, process: LocalProcess): Promise<void> {
  const endMs = performance.now() + startWaitMs
  for (;;) {
    if (runStateOf(process.identity) === 'down') throw ended(dir, process)
    if ((await answersMetrics(process)) && (await isConnected(state, process))) return
    if (performance.now() > endMs)
      throw new StorageError('TIMED_OUT', {
        detail: `${process.name} runs, but is not connected within ${startWaitMs / 1000} s`,
        remedy: `look into its log, or at: blockmesh local status --dir ${dir}`,
      })
    await sleep(50)
  }
}

async function answersMetrics({ metrics }: LocalProcess): Promise<boolean> {
  try {
    const answer = await fetch(`http://${spell(metrics)}/metrics`, { signal: AbortSignal.timeout(2_000) })
    await answer.arrayBuffer()
    return answer.ok
  } catch {
    return false
  }
}

async function isConnected(state: LocalState, { role, name, address }: LocalProcess): Promise<boolean> {
  if (role === 'mdm') return isTakingPart(state, address!)
  const report = await askReport(state)
  // While the system stands still everybody waits for all others to come.
  if (report === null || report.system.recovery) return true
  if (role === 'sdc') return report.sdcs.some(sdc => sdc.name === name && sdc.connected)
  const sds = report.sdss.find(candidate => candidate.endpoint.port === address!.port)
  return sds === undefined || sds.connected
}

/** One of several MDMs may wait for the others. */
async function isTakingPart({ topology }: LocalState, address: Endpoint): Promise<boolean> {
  try {
    const { report } = await askMdmCluster({ addresses: [address] })
    return topology.mdms > 1 || report.self.role === 'Master'
  } catch (error) {
    if (error instanceof StorageError && error.code === 'UNREACHABLE') return false
    throw error
  }
}

/** Puts the processes into `cluster.json`, and leaves the rest of it as it is. */
function rememberPids(dir: string, state: LocalState): void {
  if (readClusterFile(dir) !== null) writeClusterFile(dir, state, null)
}
