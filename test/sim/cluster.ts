import { StorageError } from '../../src/base/errors.js'
import type { PoolId } from '../../src/base/ids.js'
import { GiB, MiB } from '../../src/base/units.js'
import { loadConfig } from '../../src/config/load.js'
import { mdmKeys } from '../../src/config/mdm.js'
import { sdcKeys } from '../../src/config/sdc.js'
import { sdsKeys } from '../../src/config/sds.js'
import { kindsOfMode } from '../../src/core/mdm/index.js'
import { type MdmDaemon, startMdm } from '../../src/mdm/daemon.js'
import { type MdmClient, openMdmClient } from '../../src/mdm-client/index.js'
import type { ClusterMap, ClusterMode, Endpoint, MdmKind } from '../../src/model/index.js'
import type { Daemon } from '../../src/ports/index.js'
import { silentLog } from '../../src/ports/index.js'
import { type SdcDaemon, startSdc } from '../../src/sdc/daemon.js'
import type { BlockBackend } from '../../src/sdc/nbd/index.js'
import { startSds } from '../../src/sds/daemon.js'
import { type SimPorts, SimWorld } from '../support/index.js'
import { MemoryState } from './memory-state.js'
import type { RunPlan } from './plan.js'
import type { Situations } from './situations.js'
import { Transcript, transcriptLog } from './transcript.js'

export type Role = 'mdm' | 'sds' | 'sdc'
type State = 'down' | 'starting' | 'up' | 'stopping'

export interface SimProcess {
  readonly name: string
  readonly role: Role
  readonly index: number
  readonly clockRate: number
  state: State
  /** How the last process of this name ended. */
  lastEnd: 'exit' | 'kill' | 'power'
  /** Counts the processes of this name. */
  generation: number
  ports: SimPorts | null
  daemon: Daemon | null
}

/** What the cluster tells the run. */
export interface ClusterEvents {
  /** A process is there, or has gone. */
  onUp(process: SimProcess): void
  onDown(process: SimProcess, daemon: Daemon | null): void
  /** The MDM has applied an entry, or has started. */
  onMap(map: ClusterMap): void
  onLog(process: SimProcess, event: string, fields: Record<string, unknown>): void
  onBroken(error: Error): void
}

const restartMs = 500
/** Whoever has not stopped by then is killed, as an init system does. */
const stopMsMax = 30_000
export const domainName = 'pd1'
export const poolName = 'pool1'
export const deviceDirectory = '/disks'

/** The daemons of one system, as processes of a simulated world. */
export class SimCluster {
  readonly world: SimWorld
  readonly transcript: Transcript
  readonly processes = new Map<string, SimProcess>()
  readonly #states = new Map<string, MemoryState>()
  readonly tool: MdmClient
  /** Processes that ended by themselves are started again. */
  restarts = true

  constructor(
    readonly plan: RunPlan,
    readonly situations: Situations,
    readonly events: ClusterEvents,
  ) {
    this.world = new SimWorld(plan.seed)
    this.world.writesRefusedEvery = 12
    this.world.network.releaseMs = plan.releaseMs
    this.transcript = new Transcript(() => this.world.clock.nowMs())
    for (let n = 1; n <= plan.mdms + plan.spareMdms; n++) this.#add('mdm', n)
    for (let n = 1; n <= plan.sdss + plan.spareSdss; n++) this.#add('sds', n)
    for (let n = 1; n <= plan.sdcs; n++) this.#add('sdc', n)
    const { clock } = this.world
    this.tool = openMdmClient({
      addresses: this.mdmAddresses,
      role: 'tool',
      name: 'tool',
      systemId: null,
      clock,
      link: this.world.network.linkOf('tool'),
      log: silentLog,
    })
  }

  get clock() {
    return this.world.clock
  }
  process(name: string): SimProcess {
    return this.processes.get(name)!
  }
  ofRole(role: Role): SimProcess[] {
    return [...this.processes.values()].filter(process => process.role === role)
  }

  #add(role: Role, index: number): void {
    const name = `${role}-${index}`
    const rates = [0.99, 1, 1.01]
    const clockRate = this.plan.clockRates ? rates[this.world.random.integer(3)]! : 1
    const identity = { name, role, index, clockRate, lastEnd: 'exit' as const }
    this.processes.set(name, { ...identity, state: 'down', generation: 0, ports: null, daemon: null })
  }

  get mdmAddresses(): Endpoint[] {
    return this.ofRole('mdm').map(({ index }) => mdmAt(index))
  }
  mdmDaemon(name: string): MdmDaemon | null {
    return this.process(name).daemon as MdmDaemon | null
  }
  /** The MDM processes that run, by name. */
  get mdmDaemons(): [string, MdmDaemon][] {
    return this.ofRole('mdm').flatMap(({ name, daemon }) => (daemon ? [[name, daemon as MdmDaemon]] : []))
  }

  /** The newest configuration that any MDM has; null while none runs that has all that was seen before. */
  get map(): ClusterMap | null {
    let newest: ClusterMap | null = null
    for (const [, { map }] of this.mdmDaemons)
      if (map !== null && map.version >= Math.max(this.#versionSeen, newest?.version ?? 0)) newest = map
    this.#versionSeen = newest?.version ?? this.#versionSeen
    return newest
  }
  /** Of `map`, the last time; an MDM that lags, or stands by and knows nothing, does not take it back. */
  #versionSeen = 0
  /** Whoever is master and has been for the longest term; null: nobody. */
  get master(): { name: string; daemon: MdmDaemon } | null {
    const masters = this.mdmDaemons.flatMap(([name, daemon]) => (daemon.mdm ? [{ name, daemon }] : []))
    const termOf = ({ daemon }: { daemon: MdmDaemon }) => daemon.node!.role.term
    return masters.sort((a, b) => termOf(b) - termOf(a))[0] ?? null
  }
  /** What SDSs said last of their devices. */
  slotsUsed(deviceId: string): number | undefined {
    return this.master?.daemon.mdm?.registry.usage.get(deviceId)?.slotsUsed
  }

  /** Slices of which a copy stands elsewhere than the MDM wishes; null: it does not know yet. */
  get movesLeft(): number | null {
    let left = 0
    for (const poolId of this.map?.tables.pools.keys() ?? []) {
      const progress = this.master?.daemon.mdm?.rebuilds.progressOf(poolId as PoolId)
      if (!progress) return null
      left += progress.rebalance.slicesLeft
    }
    return left
  }

  exportOf(sdc: string, volume: string): BlockBackend | undefined {
    return (this.process(sdc).daemon as SdcDaemon | null)?.exports.find(volume)
  }

  sum(role: Role, metric: string): number {
    let total = 0
    for (const { daemon } of this.ofRole(role))
      for (const { name, value } of daemon?.metrics() ?? []) if (name === metric) total += value
    return total
  }

  // ---- processes

  start(name: string): void {
    const process = this.process(name)
    if (process.state !== 'down') return
    process.state = 'starting'
    const generation = ++process.generation
    const isCurrent = () => process.generation === generation && process.state !== 'down'
    const log = transcriptLog(this.transcript, name, (event, fields) => this.events.onLog(process, event, fields))
    const ports = this.world.portsOf(name, log, { clockRate: process.clockRate })
    process.ports = ports
    ports.disks.latencyMs = this.plan.diskMs
    this.transcript.say(`${name.padEnd(6)} starts`)
    this.#launch(process, ports).then(
      daemon => {
        if (!isCurrent()) return
        process.daemon = daemon
        process.state = 'up'
        daemon.failed?.then(error => isCurrent() && this.#failed(process, error))
        if (process.role === 'mdm' && this.map !== null) this.events.onMap(this.map)
        this.events.onUp(process)
      },
      error => {
        if (!isCurrent()) return
        if (!(error instanceof StorageError)) this.events.onBroken(error as Error)
        this.transcript.say(`${name.padEnd(6)} could not start: ${(error as Error).message}`)
        this.#ended(process)
      },
    )
  }

  /** A daemon says that it cannot go on. Nothing that these runs do gives it a reason to. */
  #failed(process: SimProcess, error: Error): void {
    this.events.onBroken(new Error(`${process.name} gave up: ${error.message}`))
  }

  #ended(process: SimProcess): void {
    this.#leave(process, 'exit')
    this.world.crashProcess(process.name)
    this.startIn(process.name, restartMs)
  }

  startIn(name: string, delayMs: number): void {
    const { generation } = this.process(name)
    this.clock.setTimer(delayMs, () => {
      if (this.process(name).generation === generation && this.restarts) this.start(name)
    })
  }

  #leave(process: SimProcess, how: SimProcess['lastEnd']): void {
    process.lastEnd = how
    const { daemon } = process
    process.state = 'down'
    process.daemon = null
    this.events.onDown(process, daemon)
  }

  /** SIGKILL. */
  kill(name: string): void {
    const process = this.process(name)
    if (process.state === 'down') return
    this.transcript.say(`${name.padEnd(6)} is killed`)
    this.#leave(process, 'kill')
    this.world.crashProcess(name)
  }

  /** The host loses power. */
  powerLoss(name: string): void {
    const process = this.process(name)
    this.transcript.say(`${name.padEnd(6)} loses power`)
    if (process.state !== 'down') this.#leave(process, 'power')
    this.world.powerLoss(name)
    this.#states.get(name)?.powerLoss()
  }

  /** SIGTERM; `onStopped` when the process has ended, by itself or killed after a while. */
  stop(name: string, onStopped: () => void): void {
    const process = this.process(name)
    if (process.state !== 'up') return
    this.transcript.say(`${name.padEnd(6)} is told to stop`)
    const { generation, daemon } = process
    process.state = 'stopping'
    const end = (how: string) => {
      if (process.generation !== generation || process.state !== 'stopping') return
      this.transcript.say(`${name.padEnd(6)} ${how}`)
      this.#leave(process, 'exit')
      this.world.crashProcess(name)
      onStopped()
    }
    daemon!.stop().then(
      () => end('has stopped'),
      error => this.events.onBroken(error as Error),
    )
    this.clock.setTimer(stopMsMax, () => end('did not stop and is killed'))
  }

  #launch(process: SimProcess, ports: SimPorts): Promise<Daemon> {
    const { name, index } = process
    const lines = (...keys: string[]) => [`name: ${name}`, ...keys].join('\n')
    const mdm = `mdm: [${this.mdmAddresses.map(text).join(', ')}]`
    if (process.role === 'mdm') {
      const entries = `log.entries: ${this.plan.mdmLogEntriesMax}`
      const create = `system.create: ${index === 1 && process.generation === 1}`
      const config = lines(
        `listen: ${text(mdmAt(index))}`,
        'directory: /mdm',
        `kind: ${this.mdmKind(index)}`,
        create,
        entries,
      )
      return startMdm(loadConfig(mdmKeys, config, name), ports)
    }
    if (process.role === 'sds') {
      const search = `devices.search: ${deviceDirectory}`
      const { leaseMs, marksIdleMs } = this.plan
      const times = [`lease.timeout: ${leaseMs} ms`, `marks.idle: ${marksIdleMs} ms`, 'marks.kept: 0']
      const config = lines(`listen: ${text(sdsAt(index))}`, mdm, 'directory: /state', search, ...times)
      return startSds(loadConfig(sdsKeys, config, name), ports)
    }
    const config = lines(mdm, 'directory: /state', 'nbd.socket: /nbd', 'kernel: off')
    const options = { state: this.#stateOf(name), listen: async () => noListener }
    return startSdc(loadConfig(sdcKeys, config, name), ports, options)
  }

  #stateOf(name: string): MemoryState {
    let state = this.#states.get(name)
    if (state === undefined) {
      state = new MemoryState(this.world.random)
      this.#states.set(name, state)
    }
    return state
  }

  // ---- configuration, by the protocol that scli speaks

  /** Large enough for what is reserved, even where only two fault sets are left and volumes have grown. */
  get deviceBytes(): number {
    const { isThick, volumes, devicesPerSds } = this.plan
    return MiB + GiB * (isThick ? Math.ceil((48 * volumes) / devicesPerSds) : volumes)
  }

  /** The members are of the kinds that the mode wants; then one that stands by of each kind, managers first. */
  mdmKind(index: number): MdmKind {
    const { mdms } = this.plan
    const { managers } = kindsOfMode[mdms]
    if (index <= mdms) return index <= managers ? 'manager' : 'tieBreaker'
    return (index - mdms) % 2 === 1 ? 'manager' : 'tieBreaker'
  }

  /** The cluster grows from one MDM to what the plan wants. */
  async #provisionMdms(ask: <T>(promise: Promise<T>) => Promise<T>): Promise<void> {
    const { tool, plan } = this
    for (const { name, index } of this.ofRole('mdm'))
      if (index > 1)
        await ask(tool.request('addStandbyMdm', { name, endpoint: mdmAt(index), kind: this.mdmKind(index) }))
    for (const mode of [3, 5] as const) {
      if (plan.mdms < mode) continue
      const have = this.map!.tables.mdms
      const standbys = [...have.values()].filter(({ name, membership }) => {
        return membership === 'standby' && this.process(name).index <= plan.mdms
      })
      const { managers, tieBreakers } = kindsOfMode[mode]
      const before = kindsOfMode[(mode - 2) as ClusterMode]
      const some = (kind: MdmKind, count: number) => standbys.filter(mdm => mdm.kind === kind).slice(0, count)
      const add = [
        ...some('manager', managers - before.managers),
        ...some('tieBreaker', tieBreakers - before.tieBreakers),
      ]
      await ask(tool.request('switchClusterMode', { mode, add: add.map(({ id }) => id) }))
    }
  }

  async provision(): Promise<void> {
    const { plan, tool, clock } = this
    for (const name of this.processes.keys()) this.start(name)
    tool.start()
    const ask = <T>(promise: Promise<T>) => clock.finish(promise, { withinMs: 30_000, what: 'the MDM answers' })
    await this.#provisionMdms(ask)
    await ask(tool.request('addProtectionDomain', { name: domainName }))
    const { sliceCount, sparePercent, zeroPadding, graceMs } = plan
    // The spare is set at the end: a volume must fit when it is made.
    const pool = { protectionDomain: domainName, name: poolName, sliceCount, zeroPadding }
    await ask(tool.request('addStoragePool', pool))
    await ask(tool.request('setGracePeriod', { pool: poolName, gracePeriodMs: graceMs }))
    for (let n = 1; n <= plan.faultSets; n++)
      await ask(tool.request('addFaultSet', { protectionDomain: domainName, name: `fs-${n}` }))
    await clock.runFor(100)
    for (let n = 1; n <= plan.sdss; n++) {
      const faultSet = `fs-${1 + ((n - 1) % plan.faultSets)}`
      const sds = { protectionDomain: domainName, faultSet, name: `sds-${n}`, endpoint: sdsAt(n) }
      await ask(tool.request('addSds', sds))
    }
    await clock.runFor(200)
    for (let n = 1; n <= plan.sdss; n++)
      for (let d = 1; d <= plan.devicesPerSds; d++) {
        const path = `${deviceDirectory}/${d}`
        await ask(tool.request('addDevice', { sds: `sds-${n}`, pool: poolName, path, sizeBytes: this.deviceBytes }))
      }
    for (let v = 1; v <= plan.volumes; v++) {
      const volume = {
        pool: poolName,
        name: `vol${v}`,
        sizeBytes: 8 * GiB,
        type: plan.isThick ? ('thick' as const) : ('thin' as const),
      }
      await ask(tool.request('addVolume', volume))
    }
    for (const { volume, sdc } of mappingsOf(plan))
      await ask(tool.request('mapVolume', { volume, sdc, allowMultipleMappings: true }))
    if (sparePercent !== 34) await ask(tool.request('setSparePercent', { pool: poolName, sparePercent }))
    await clock.runUntil(() => mappingsOf(plan).every(({ volume, sdc }) => this.exportOf(sdc, volume) !== undefined), {
      withinMs: 10_000,
      what: 'the volumes are exported',
    })
  }
}

/** Which SDC uses which volume. */
export function mappingsOf({ volumes, sdcs, isShared }: RunPlan): { volume: string; sdc: string }[] {
  const mappings: { volume: string; sdc: string }[] = []
  for (let v = 1; v <= volumes; v++)
    for (let c = 1; c <= sdcs; c++)
      if (isShared || 1 + ((v - 1) % sdcs) === c) mappings.push({ volume: `vol${v}`, sdc: `sdc-${c}` })
  return mappings
}

export const mdmAt = (index: number): Endpoint => ({ host: `10.0.0.${index}`, port: 9011 })
export const sdsAt = (index: number): Endpoint => ({ host: `10.0.1.${index}`, port: 7072 })

const text = ({ host, port }: Endpoint): string => `${host}:${port}`

const noListener = { port: 0, connections: () => 0, closeExport: async () => {}, close: async () => {} }
