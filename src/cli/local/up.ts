import { closeSync, existsSync, constants as fsConstants, mkdirSync, openSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { StorageError } from '../../base/errors.js'
import type { MdmClient } from '../../mdm-client/index.js'
import { writeAtomically } from '../format/atomic.js'
import { Mistakes } from '../format/failure.js'
import { withMdm } from '../mdm-session.js'
import { type ClusterFile, writeClusterFile } from './cluster-file.js'
import { findFreePorts } from './free-ports.js'
import { problemsOf } from './health.js'
import { type Topology, topologyConflicts, topologyDefault, type UpOptions } from './options.js'
import { configTextOf, planCluster, portCountOf } from './plan.js'
import { cpusOf, runStateOf, signalProcess, startProcess, tailOfLog, waitUntilDown } from './process-table.js'
import { provision } from './provision.js'
import {
  configPath,
  hasCluster,
  type LocalProcess,
  type LocalState,
  mdmAddresses,
  processDir,
  readState,
  writeState,
} from './state.js'

export interface UpResult {
  file: ClusterFile
  /** Names of the processes that this call has started. */
  started: string[]
}

/**
 * Brings the cluster in `dir` up and waits until it is healthy: a new one, or what is not running of the one that is
 * there. If it fails, what it started is stopped again.
 */
export async function bringUp(
  dir: string,
  options: UpOptions,
  progress: (sentence: string) => void,
): Promise<UpResult> {
  const endMs = performance.now() + options.waitMs
  const state = hasCluster(dir) ? reuseCluster(dir, options) : await makeCluster(dir, options, progress)
  const started: LocalProcess[] = []
  const interrupted = onInterrupt()
  try {
    for (const process of state.processes) {
      const is = runStateOf(process.identity)
      if (is === 'suspended') signalProcess(process.identity, 'SIGCONT')
      if (is !== 'down') continue
      process.identity = startProcess(dir, process.name, process.role)
      started.push(process)
      writeState(dir, state)
    }
    if (started.length > 0) progress(`started ${started.map(process => process.name).join(', ')}`)
    const checkAlive = () => {
      interrupted.check()
      for (const process of state.processes) if (runStateOf(process.identity) === 'down') throw ended(dir, process)
      if (performance.now() > endMs) throw new StorageError('TIMED_OUT', { seconds: options.waitMs / 1000 })
    }
    const report = await waitForMdm({ dir, state, checkAlive }, async mdm => {
      const { volumes } = options
      await provision({ dir, state, mdm, volumes, progress, checkAlive })
      return waitUntilHealthy(mdm, state, progress, checkAlive)
    })
    state.systemId = report.system.id
    state.provisioned = true
    for (const process of state.processes) if (process.role === 'mdm') writeConfig(dir, state, process)
    writeState(dir, state)
    return { file: writeClusterFile(dir, state, report), started: started.map(process => process.name) }
  } catch (error) {
    progress('failed; stopping what was started')
    for (const process of started.reverse()) await stopAgain(process)
    writeState(dir, state)
    throw error
  } finally {
    interrupted.ignore()
  }
}

function reuseCluster(dir: string, options: UpOptions): LocalState {
  const state = readState(dir)
  const conflicts = topologyConflicts(state.topology, options.wanted)
  if (conflicts.length > 0) throw new Mistakes(conflicts)
  return state
}

async function makeCluster(dir: string, options: UpOptions, progress: (sentence: string) => void): Promise<LocalState> {
  const topology: Topology = { ...topologyDefault, ...options.wanted }
  if (topology.ioMode === 'direct' && !allowsDirectIo(dir)) {
    if (options.wanted.ioMode === 'direct')
      throw new StorageError('BAD_ARGUMENT', {
        detail: `the file system of ${resolve(dir)} does not do direct I/O`,
        remedy: 'give --buffered, or another --dir',
      })
    topology.ioMode = 'buffered'
    progress('the file system does not do direct I/O; the devices are opened with --buffered, without a RAM read cache')
  }
  const state = planCluster(dir, topology, await findFreePorts(portCountOf(topology)))
  for (const process of state.processes) {
    mkdirSync(join(processDir(dir, process.name), 'state'), { recursive: true, mode: 0o755 })
    if (!existsSync(configPath(dir, process.name))) writeConfig(dir, state, process)
  }
  writeState(dir, state)
  return state
}

const writeConfig = (dir: string, state: LocalState, process: LocalProcess): void =>
  writeAtomically(configPath(dir, process.name), configTextOf(resolve(dir), state, process, cpusOf('self')))

function allowsDirectIo(dir: string): boolean {
  const probe = join(resolve(dir), `.direct-${process.pid}`)
  try {
    closeSync(openSync(probe, fsConstants.O_RDWR | fsConstants.O_CREAT | fsConstants.O_DIRECT, 0o600))
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EINVAL') return false
    throw error
  } finally {
    rmSync(probe, { force: true })
  }
}

interface Waiting {
  dir: string
  state: LocalState
  checkAlive(): void
}

async function waitForMdm<T>({ state, checkAlive }: Waiting, work: (mdm: MdmClient) => Promise<T>): Promise<T> {
  for (;;) {
    checkAlive()
    let reached = false
    try {
      return await withMdm(
        { addresses: mdmAddresses(state), systemId: state.systemId, connectTimeoutMs: 3_000 },
        async mdm => {
          reached = true
          return work(mdm)
        },
      )
    } catch (error) {
      const notThereYet = !reached && error instanceof StorageError && error.code === 'UNREACHABLE'
      if (!notThereYet) throw error
    }
  }
}

async function waitUntilHealthy(
  mdm: MdmClient,
  state: LocalState,
  progress: (sentence: string) => void,
  checkAlive: () => void,
) {
  let said = ''
  let saidAtMs = Number.NEGATIVE_INFINITY
  for (;;) {
    const report = await mdm.request('query', {})
    const runStates = new Map(state.processes.map(process => [process.name, runStateOf(process.identity)]))
    const problems = problemsOf(state, report, await mdm.request('queryCluster', {}), runStates)
    if (problems.length === 0) return report
    const sentence = `waiting: ${problems[0]}${problems.length > 1 ? `, and ${problems.length - 1} more` : ''}`
    if (sentence !== said && performance.now() > saidAtMs + 2_000) {
      progress(sentence)
      said = sentence
      saidAtMs = performance.now()
    }
    try {
      checkAlive()
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'TIMED_OUT') throw error
      throw new StorageError('TIMED_OUT', {
        detail: `the cluster is not healthy in time: ${problems.slice(0, 5).join('; ')}`,
        remedy: 'look into the logs of the processes named, or give it longer with --wait SECONDS',
      })
    }
    await sleep(200)
  }
}

/** The error of a daemon that ended while it was waited for, with what it said last. */
export function ended(dir: string, { name }: LocalProcess): StorageError {
  const tail = tailOfLog(dir, name).map(line => `    ${line}`)
  return new StorageError('UNREACHABLE', {
    detail: [`${name} has ended; its log ${processDir(dir, name)}/${name}.log ends with`, ...tail].join('\n'),
  })
}

async function stopAgain(process: LocalProcess): Promise<void> {
  signalProcess(process.identity, 'SIGTERM')
  if (await waitUntilDown(process.identity, 10_000)) return
  signalProcess(process.identity, 'SIGKILL')
  await waitUntilDown(process.identity, 10_000)
}

/** Ctrl-C while it waits: noticed at the next check, so that what was started is stopped. */
function onInterrupt(): { check(): void; ignore(): void } {
  let signal: string | null = null
  const note = (name: string) => {
    signal = name
  }
  process.on('SIGINT', note)
  process.on('SIGTERM', note)
  return {
    check() {
      if (signal !== null) throw new StorageError('TIMED_OUT', { detail: `interrupted by ${signal}` })
    },
    ignore() {
      process.off('SIGINT', note)
      process.off('SIGTERM', note)
    },
  }
}
