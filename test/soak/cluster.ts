import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'
import { sliceCountDefault } from '../../src/base/limits.js'
import { GiB, MiB } from '../../src/base/units.js'
import { writeClusterFile } from '../../src/cli/local/cluster-file.js'
import { findFreePorts } from '../../src/cli/local/free-ports.js'
import { problemsOf } from '../../src/cli/local/health.js'
import type { Topology, VolumeWish } from '../../src/cli/local/options.js'
import { configTextOf, planCluster, portCountOf } from '../../src/cli/local/plan.js'
import { parseStat, runStateOf, tailOfLog, thisBootId } from '../../src/cli/local/process-table.js'
import { askCluster, askReport, runStatesOf } from '../../src/cli/local/processes.js'
import { poolName, provision } from '../../src/cli/local/provision.js'
import {
  configPath,
  type LocalProcess,
  type LocalState,
  logPath,
  mdmAddresses,
  processDir,
  processOf,
  writeState,
} from '../../src/cli/local/state.js'
import { withMdm } from '../../src/cli/mdm-session.js'
import { labelBytes } from '../../src/core/store/index.js'
import type { MdmClient } from '../../src/mdm-client/index.js'
import type { ClusterMode, IoPolicy } from '../../src/model/objects.js'
import type { SystemReport } from '../../src/wire/control.js'
import type { Network } from './network.js'

const program = fileURLToPath(new URL('../../src/cli/blockmesh.js', import.meta.url))

const topologyOf = (mdms: ClusterMode): Topology => ({
  mdms,
  sdss: 4,
  faultSets: 4,
  devicesPerSds: 2,
  deviceBytes: 16 * GiB,
  slices: sliceCountDefault,
  sdcs: 1,
  zeroPadding: true,
  ioMode: 'direct',
  rmcacheBytes: 64 * MiB,
})
const numbered = (role: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${role}-${index + 1}`)
export const sdcName = 'sdc-1'
export const sdsNames = numbered('sds', topologyOf(1).sdss)
export const mdmNamesOf = (mdms: ClusterMode): string[] => numbered('mdm', mdms)
const startWaitMs = 60_000
const stopWaitMs = 40_000
const replaceWithinMs = 120_000

export interface SoakClusterOptions {
  dir: string
  mdms: ClusterMode
  /** Where each process has a network namespace of its own; null: all on loopback. */
  network: Network | null
  volumes: readonly VolumeWish[]
  progress(sentence: string): void
}

/** A cluster as `blockmesh local` makes it, each process started, watched and ended by this program itself. */
export class SoakCluster {
  readonly #children = new Map<string, ChildProcess>()
  /** Processes that are being ended on purpose. */
  readonly #ending = new Set<string>()
  /** How often the SDC was started. */
  sdcGeneration = 0
  /** Called when a process ends that nobody has ended. */
  onDied: (sentence: string) => void = () => {}

  private constructor(
    readonly dir: string,
    readonly state: LocalState,
    readonly network: Network | null,
  ) {}

  /** Makes and starts a cluster with volumes, and waits until it is healthy. */
  static async start({ dir, mdms, network, volumes, progress }: SoakClusterOptions): Promise<SoakCluster> {
    const topology = topologyOf(mdms)
    const state = planCluster(dir, topology, await findFreePorts(portCountOf(topology)))
    const cluster = new SoakCluster(dir, state, network)
    for (const process of state.processes) cluster.#configure(process)
    writeState(dir, state)
    try {
      for (const { name } of state.processes) cluster.startProcess(name)
      const endMs = performance.now() + startWaitMs
      const checkAlive = () => {
        if (performance.now() > endMs) throw new Error(`the cluster did not start within ${startWaitMs / 1000} s`)
      }
      await cluster.withMdm(mdm => provision({ dir, state, mdm, volumes, progress, checkAlive }), startWaitMs)
      await cluster.untilHealthy(startWaitMs)
      const report = await askReport(state)
      state.systemId = report!.system.id
      state.provisioned = true
      for (const process of state.processes) if (process.role === 'mdm') cluster.#configure(process)
      writeState(dir, state)
      writeClusterFile(dir, state, report)
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  get nbdSocket(): string {
    return this.#process(sdcName).nbdSocket!
  }
  get mdmNames(): string[] {
    return mdmNamesOf(this.state.topology.mdms)
  }
  get names(): string[] {
    return this.state.processes.map(({ name }) => name)
  }
  /** Connections to the SDC may end and fail now. */
  get sdcIsEnding(): boolean {
    return this.#ending.has(sdcName)
  }

  /** One more device, as a file in `dir`. */
  async addDevice(sds: string, dir: string): Promise<void> {
    const path = join(dir, 'device')
    const sizeBytes = 2 * GiB + labelBytes
    await this.withMdm(mdm => mdm.request('addDevice', { sds, pool: poolName, path, name: `${sds}-small`, sizeBytes }))
  }

  /**
   * What an administrator does once disks are mended: removes every device that has failed and adds a new one in its
   * place.
   */
  async replaceFailedDevices(): Promise<void> {
    const report = await askReport(this.state).catch(() => null)
    for (const { id, path, name, sdsId, state, capacityBytes } of report?.devices ?? []) {
      if (state !== 'failed') continue
      const isRemoved = (now: SystemReport) => !now.devices.some(device => device.id === id)
      await this.#administer(isRemoved, mdm => mdm.request('removeDevice', { device: id }))
      rmSync(path)
      const isAdded = (now: SystemReport) =>
        now.devices.some(device => device.name === name && device.state === 'ready')
      const sizeBytes = capacityBytes + labelBytes
      await this.#administer(isAdded, mdm =>
        mdm.request('addDevice', { sds: sdsId, pool: poolName, path, name, sizeBytes }),
      )
    }
  }

  /** Asks until the report says that it is done: the MDM or an SDS may be away just now, or not ready for it. */
  async #administer(
    isDone: (report: SystemReport) => boolean,
    ask: (mdm: MdmClient) => Promise<unknown>,
  ): Promise<void> {
    const endMs = performance.now() + replaceWithinMs
    for (;;) {
      const failure = await this.withMdm(ask).then(
        () => 'it is still under way',
        (error: Error) => error.message,
      )
      const report = await askReport(this.state).catch(() => null)
      if (report && isDone(report)) return
      if (performance.now() > endMs)
        throw new Error(`a device is not replaced within ${replaceWithinMs / 1000} s: ${failure}`)
      await sleep(500)
    }
  }

  withMdm<T>(work: (mdm: MdmClient) => Promise<T>, connectTimeoutMs = 10_000): Promise<T> {
    return withMdm({ addresses: mdmAddresses(this.state), systemId: this.state.systemId, connectTimeoutMs }, work)
  }

  startProcess(name: string): void {
    const process = this.#process(name)
    const log = openSync(logPath(this.dir, name), 'a', 0o644)
    const prefix = this.network?.prefixFor(name) ?? []
    const command = [
      ...prefix,
      globalThis.process.execPath,
      program,
      process.role,
      '--config',
      configPath(this.dir, name),
    ]
    const child = spawn(command[0]!, command.slice(1), {
      cwd: processDir(this.dir, name),
      // Ctrl-C is for this program, which then ends them.
      detached: true,
      stdio: ['ignore', log, log],
    })
    closeSync(log)
    const { startTicks } = parseStat(readFileSync(`/proc/${child.pid}/stat`, 'utf8'))
    process.identity = { pid: child.pid!, startTicks, bootId: thisBootId() }
    this.#children.set(name, child)
    this.#ending.delete(name)
    child.on('exit', (code, signal) => {
      if (this.#children.get(name) !== child || this.#ending.has(name)) return
      const tail = tailOfLog(this.dir, name, 8).join('\n    ')
      this.onDied(`${name} ended by itself (${signal ?? `exit code ${code}`}); its log ends with\n    ${tail}`)
    })
    if (name === sdcName) this.sdcGeneration++
    writeState(this.dir, this.state)
  }

  /** Ends a process and waits until it is gone. A clean stop that takes too long is a failure. */
  async endProcess(name: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    const child = this.#children.get(name)
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    this.#ending.add(name)
    const gone = new Promise<void>(resolve => child.once('close', () => resolve()))
    child.kill(signal)
    if (signal === 'SIGTERM') child.kill('SIGCONT')
    const isGone = await Promise.race([gone.then(() => true), sleep(stopWaitMs, false, { ref: false })])
    if (!isGone) throw new Error(`${name} did not end within ${stopWaitMs / 1000} s of ${signal}`)
    // Threads in a system call may hold locks a moment longer.
    while (runStateOf(this.#process(name).identity) !== 'down') await sleep(10)
  }

  pidOf(name: string): number {
    return this.#children.get(name)!.pid!
  }
  signal(name: string, signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#children.get(name)!.kill(signal)
  }

  /** What is wrong now, for people; empty: the cluster is healthy. */
  async problems(): Promise<string[]> {
    return problemsOf(this.state, await askReport(this.state), await askCluster(this.state), runStatesOf(this.state))
  }

  /**
   * Replaces devices that have failed, and throws with what is wrong if the cluster is not healthy in time. Returns how
   * long it took. Meanwhile rebuilds need not spare the load.
   */
  async untilHealthy(withinMs: number): Promise<number> {
    const beganMs = performance.now()
    let isHurried = false
    for (;;) {
      let problems: string[]
      try {
        if (!isHurried) await this.#setPolicies({ kind: 'unlimited' })
        isHurried = true
        problems = await this.problems()
      } catch (error) {
        problems = [(error as Error).message]
      }
      const tookMs = performance.now() - beganMs
      if (problems.length === 0) {
        await this.#setPolicies(null)
        return tookMs
      }
      if (tookMs > withinMs)
        throw new Error(`not healthy within ${withinMs / 1000} s: ${problems.slice(0, 5).join('; ')}`)
      await this.replaceFailedDevices()
      await sleep(250)
    }
  }

  /** Of rebuild and rebalance; null: the default ones. */
  #setPolicies(policy: IoPolicy | null): Promise<unknown> {
    return this.withMdm(async mdm => {
      await mdm.request('setRebuildPolicy', { pool: poolName, policy })
      await mdm.request('setRebalancePolicy', { pool: poolName, policy })
    })
  }

  /** Ends everything, by force if need be. Returns what did not stop cleanly. */
  async close(): Promise<string[]> {
    const failures: string[] = []
    for (const role of ['sdc', 'sds', 'mdm'])
      await Promise.all(
        this.state.processes
          .filter(process => process.role === role)
          .map(async ({ name }) => {
            try {
              await this.endProcess(name, 'SIGTERM')
            } catch (error) {
              failures.push((error as Error).message)
              await this.endProcess(name, 'SIGKILL').catch(() => {})
            }
          }),
      )
    return failures
  }

  #process(name: string): LocalProcess {
    return processOf(this.state, name)
  }

  #configure(process: LocalProcess): void {
    const { name, address, metrics } = process
    if (this.network)
      for (const endpoint of [address, metrics]) if (endpoint) endpoint.host = this.network.addressOf(name)
    mkdirSync(join(processDir(this.dir, name), 'state'), { recursive: true })
    // Volumes are used through the socket; a kernel that has nbd keeps its devices for others.
    const config = parse(configTextOf(this.dir, this.state, process)) as Record<string, unknown>
    if (process.role === 'sdc') config.kernel = 'off'
    writeFileSync(configPath(this.dir, name), stringify(config))
  }
}
