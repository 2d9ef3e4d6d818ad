import type { ClusterMap, SliceRecord } from '../../src/model/index.js'
import type { Daemon } from '../../src/ports/index.js'
import { seededRandom } from '../support/index.js'
import { checkDevices, isCounted, isTidy, RecordWatch } from './checks.js'
import { mappingsOf, SimCluster, type SimProcess } from './cluster.js'
import { ConfigLoad } from './config-load.js'
import { Faults } from './faults.js'
import { Invariants } from './invariants.js'
import { areMdmsAlike, checkMdms, MasterWatch } from './mdm-checks.js'
import { Operator } from './operator.js'
import type { RunPlan } from './plan.js'
import { RegisterChecker, Violation } from './register-checker.js'
import { type Situation, Situations } from './situations.js'
import { Workload } from './workload.js'

/** What became of one run. */
export interface RunResult {
  seed: number
  /** null: everything was as promised. */
  failure: Error | null
  /** Of everything that happened: the same for every replay. */
  hash: string
  situations: Situations
  acknowledged: number
  checked: number
  struck: number
  virtualMs: number
  lines: string[]
}

/** Within this much virtual time after the last fault everything is whole again. */
const healMsMax = 150_000
const quietMs = 2_500
const lookMs = 200

/** A cluster under load while things go wrong, then while everything heals; the checkers look on. */
export class Run {
  readonly situations = new Situations()
  readonly cluster: SimCluster
  readonly faults: Faults
  readonly operator: Operator
  readonly #workloads: Workload[] = []
  readonly #checkers = new Map<string, RegisterChecker>()
  readonly #watch = new RecordWatch()
  readonly #masters = new MasterWatch()
  #failure: Error | null = null
  #mapVersion = 0
  #nextId = 1
  acknowledged = 0
  checked = 0

  constructor(
    readonly plan: RunPlan,
    { verbose = false } = {},
  ) {
    this.cluster = new SimCluster(plan, this.situations, {
      onUp: process => this.#onUp(process),
      onDown: (process, daemon) => this.#onDown(process, daemon),
      onMap: map => this.#onMap(map),
      onLog: (process, event, fields) => this.#onLog(process, event, fields),
      onBroken: error => this.fail(error),
    })
    this.cluster.transcript.isVerbose = verbose
    const random = seededRandom(plan.seed * 4 + 1)
    this.operator = new Operator(this.cluster, this.situations, random, (volume, chunks) => this.#grown(volume, chunks))
    this.faults = new Faults(plan, this.cluster, this.situations, this.operator)
  }

  fail(error: Error): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.cluster.transcript.say(`FAILED ${error.message}`)
  }

  async play(): Promise<RunResult> {
    const { transcript } = this.cluster
    transcript.say(`plan   ${JSON.stringify(this.plan)}`)
    const strays = (error: unknown) => this.fail(error as Error)
    process.on('uncaughtException', strays)
    process.on('unhandledRejection', strays)
    try {
      await this.#play()
    } catch (error) {
      this.fail(error as Error)
    } finally {
      process.off('uncaughtException', strays)
      process.off('unhandledRejection', strays)
    }
    return {
      seed: this.plan.seed,
      failure: this.#failure,
      hash: transcript.hash,
      situations: this.situations,
      acknowledged: this.acknowledged,
      checked: this.checked,
      struck: this.faults.struck,
      virtualMs: this.cluster.clock.nowMs(),
      lines: transcript.lines,
    }
  }

  async #play(): Promise<void> {
    const { cluster, plan } = this
    await cluster.provision()
    cluster.transcript.say('load   begins')
    this.#makeWorkloads()
    for (const workload of this.#workloads) workload.start()
    const config = this.#configLoad()
    this.faults.start()
    new Invariants(
      cluster,
      () => this.faults.wounds.isOpen || (cluster.map?.version ?? 0) < this.#masters.appliedMax,
      error => this.fail(error),
    ).start()
    await this.#until(plan.faultMs, () => false)
    cluster.transcript.say('faults end')
    this.faults.end()
    await this.#until(1_500 + plan.thinkMs * 20, () => false)
    for (const workload of this.#workloads) workload.end()
    let isConfigDone = config === null
    void config?.end().then(() => {
      isConfigDone = true
    })
    await this.#mustBecome(() => isConfigDone, 'the configuration is as it was made')
    await this.#mustBecome(() => this.#workloads.every(({ openNow }) => openNow === 0), 'every request is answered')
    await this.#mustBecome(() => this.isHealthy, 'every slice has two copies in sync')
    if (this.#failure !== null) return
    for (const workload of this.#workloads) workload.flushAndReadAll()
    await this.#mustBecome(() => this.#workloads.every(({ openNow }) => openNow === 0), 'everything is read once more')
    // What is left to be erased, reported and written behind.
    await this.#until(quietMs, () => false)
    // At one moment: a copy may still move, and is untidy for a while.
    await this.#mustBecome(
      this.#nowAndThen(() => this.isHealthy && areMdmsAlike(cluster) && isTidy(cluster) && isCounted(cluster)),
      'every MDM has what the master has, every device its own chunks, and counts the slots that its index names',
    )
    if (this.#failure === null) checkDevices(cluster)
    if (this.#failure === null) checkMdms(cluster)
    // A pool that is nearly full may have no room to move anything.
    if (plan.sparePercent === 34)
      await this.#mustBecome(() => this.isHealthy && cluster.movesLeft === 0, 'every copy stands where it is wished')
    this.#noteMetrics()
  }

  /** Lets time pass, until something fails. */
  async #until(withinMs: number, predicate: () => boolean): Promise<boolean> {
    const { clock } = this.cluster
    const endMs = clock.nowMs() + withinMs
    let isOver = false
    clock.setTimer(withinMs, () => {
      isOver = true
    })
    await clock.runUntil(() => isOver || this.#failure !== null || predicate(), { withinMs: withinMs + 1 })
    return clock.nowMs() < endMs
  }

  async #mustBecome(predicate: () => boolean, what: string): Promise<void> {
    if (this.#failure !== null) return
    if (!(await this.#until(healMsMax, predicate)) && this.#failure === null)
      this.fail(new Violation(`not within ${healMsMax} ms after the last fault: ${what}; ${this.#state()}`))
  }

  /** For what takes long to find out. */
  #nowAndThen(predicate: () => boolean): () => boolean {
    const { clock } = this.cluster
    let nextMs = 0
    return () => {
      if (clock.nowMs() < nextMs) return false
      nextMs = clock.nowMs() + lookMs
      return predicate()
    }
  }

  get isHealthy(): boolean {
    const { map } = this.cluster
    if (map === null) return false
    for (const records of map.slices.values())
      for (const { secondary, joining } of records) if (secondary === null || joining !== null) return false
    for (const { waiting, state } of map.tables.devices.values()) if (waiting || state !== 'ready') return false
    for (const { removing, maintenance } of map.tables.sdss.values()) if (removing || maintenance) return false
    if (this.operator.toDo.length > 0) return false
    return [...this.cluster.processes.values()].every(({ state }) => state === 'up')
  }

  #state(): string {
    const open = this.#workloads.map(workload => `${workload.sdc}/${workload.volume}: ${workload.openList()}`)
    const states = [...this.cluster.processes.values()].map(({ name, state }) => `${name} ${state}`)
    const records = [...(this.cluster.map?.slices.values() ?? [])].flat()
    const broken = records.filter(({ secondary, joining }) => secondary === null || joining !== null)
    const devices = [...(this.cluster.map?.tables.devices.values() ?? [])].filter(
      ({ waiting, state }) => waiting || state !== 'ready',
    )
    return JSON.stringify({ open, states, broken, devices, operator: this.operator.toDo })
  }

  /** Where there are several MDMs, or one whose faults are what is looked for. */
  #configLoad(): ConfigLoad | null {
    if (!this.plan.hasConfigLoad) return null
    const random = seededRandom(this.plan.seed * 4 + 2)
    const load = new ConfigLoad(this.cluster, this.situations, random, 'cfg', error => this.fail(error))
    load.start()
    return load
  }

  #makeWorkloads(): void {
    const run = this
    const context = {
      plan: this.plan,
      cluster: this.cluster,
      situations: this.situations,
      fail: (error: Error) => this.fail(error),
      nextId: () => this.#nextId++,
      drawn: 0,
      get acknowledged() {
        return run.acknowledged
      },
      set acknowledged(count: number) {
        run.acknowledged = count
      },
      get checked() {
        return run.checked
      },
      set checked(count: number) {
        run.checked = count
      },
    }
    for (const { volume, sdc } of mappingsOf(this.plan)) {
      let checker = this.#checkers.get(volume)
      if (checker === undefined) {
        checker = new RegisterChecker(volume)
        this.#checkers.set(volume, checker)
      }
      this.#workloads.push(new Workload(context, sdc, volume, checker))
    }
  }

  #grown(volume: string, chunks: number): void {
    for (const workload of this.#workloads) if (workload.volume === volume) workload.grown(chunks)
  }

  // ---- looking on

  #onUp(process: SimProcess): void {
    const devices = [...(this.cluster.map?.tables.devices.values() ?? [])]
    if (process.role === 'mdm' && devices.some(device => device.waiting))
      this.situations.reached('MDM started while slices waited')
    for (const workload of this.#workloads) workload.onUp(process)
  }

  #onDown(process: SimProcess, daemon: Daemon | null): void {
    if (process.role === 'sds') this.#noteCounters(daemon)
    for (const workload of this.#workloads) workload.onDown(process)
  }

  #onMap(map: ClusterMap): void {
    // Of several MDMs one may be behind, once the one that was ahead is gone.
    if (map.version <= this.#mapVersion) return
    this.#mapVersion = map.version
    try {
      const lost = this.#watch.step(map, (before, after) => this.#recordChanged(before, after))
      for (const slice of lost) this.#lost(slice)
    } catch (error) {
      this.fail(error as Error)
    }
  }

  #recordChanged(before: SliceRecord, after: SliceRecord): void {
    const short = (id: string | null) => (id === null ? '-' : Number.parseInt(id.slice(8), 16))
    const { slice, epoch, primary, secondary, joining, left = null, lossEpoch } = after
    const copies = `${short(primary)} ${short(secondary)} ${short(joining)} ${short(left)}`
    this.cluster.transcript.say(`slice  ${slice} epoch ${epoch}: ${copies}${lossEpoch > 0 ? ` loss ${lossEpoch}` : ''}`)
    if (after.primary === before.secondary) this.situations.reached('secondary promoted')
    if (after.primary === before.secondary && after.secondary === before.primary)
      this.situations.reached('roles swapped')
    if (before.joining === null && joining !== null && joining !== left)
      this.situations.reached(secondary === null ? 'rebuild elsewhere' : 'copy moved')
    if (before.secondary !== null && after.secondary === null) this.situations.reached('copy fell out of sync')
    if (before.joining !== null && after.secondary !== before.joining)
      this.situations.reached('filling interrupted by a role change')
  }

  #lost(slice: number): void {
    this.situations.reached('unsynced writes given up')
    this.cluster.transcript.say(`slice  ${slice} goes on without unsynced writes`)
    for (const workload of this.#workloads) {
      workload.lost(slice)
      const checker = this.#checkers.get(workload.volume)!
      const slices = new Map([...checker.chunks].map(chunk => [chunk, workload.sliceOf(chunk)]))
      checker.lost(chunk => slices.get(chunk) === slice)
    }
  }

  #onLog(process: SimProcess, event: string, fields: Record<string, unknown>): void {
    const { map } = this.cluster
    if (event === 'mdm.applied' && map !== null) this.#onMap(map)
    if (process.role === 'mdm') this.#mdmSays(process, event, fields)
    const situation = situationOf(event, fields)
    if (situation !== null) this.situations.reached(situation)
    if (event === 'sds.resync-differs' && fields.byMarks)
      this.fail(new Violation(`the marks did not name all that a copy had missed: ${JSON.stringify(fields)}`))
    if (event === 'sds.device-opened') this.#noteReturn(process, fields)
  }

  #mdmSays({ name }: SimProcess, event: string, fields: Record<string, unknown>): void {
    try {
      this.#masters.heard(name, event, fields)
    } catch (error) {
      this.fail(error as Error)
    }
  }

  #noteReturn({ generation }: SimProcess, { cleanStop, sameBoot }: Record<string, unknown>): void {
    if (generation === 1) return
    if (cleanStop) this.situations.reached('device found cleanly stopped')
    else if (sameBoot) this.situations.reached('SDS came back after SIGKILL in the same boot')
    else this.situations.reached('SDS came back after a power loss')
  }

  #noteMetrics(): void {
    this.situations.reached('changes acknowledged', this.acknowledged)
    this.situations.reached('reads checked', this.checked)
    const { isThick, zeroPadding, clockRates } = this.plan
    if (isThick) this.situations.reached('thick volume')
    if (!zeroPadding) this.situations.reached('no zero padding')
    if (clockRates) this.situations.reached('clocks of different rates')
    for (const process of this.cluster.ofRole('sds')) this.#noteCounters(process.daemon)
  }

  /** What an SDS's process has counted, at its end. */
  #noteCounters(daemon: Daemon | null): void {
    for (const { name, value } of daemon?.metrics() ?? []) {
      if (name === 'blockmesh_sds_refused_stale_total') this.situations.reached('stale epoch refused', value)
      if (name === 'blockmesh_sds_parked_total') this.situations.reached('request waited for the map', value)
      if (name === 'blockmesh_sds_marks_cleared_total') this.situations.reached('marks cleared', value)
      if (name === 'blockmesh_sds_chunks_pruned_total') this.situations.reached('chunks pruned', value)
      if (name === 'blockmesh_sds_reads_by_pass_total') this.situations.reached('read answered by a pass', value)
      if (name === 'blockmesh_sds_writes_by_pass_total') this.situations.reached('write by a pass', value)
      if (name === 'blockmesh_sds_copies_by_pass_total') this.situations.reached('copy written by a pass', value)
      if (name === 'blockmesh_sds_writes_unfinished_total')
        this.situations.reached('pass left a write unfinished', value)
      if (name === 'blockmesh_sds_reads_returned_total')
        this.situations.reached('read under a pass that became void', value)
      if (name === 'blockmesh_sds_lease_waits_total') this.situations.reached('read waited for a lease', value)
    }
  }
}

/** What an event of a log shows. */
function situationOf(event: string, fields: Record<string, unknown>): Situation | null {
  switch (event) {
    case 'mdm.snapshotInstalled':
      return 'snapshot installed at an MDM'
    case 'mdm.compacted':
      return 'log of an MDM replaced by a snapshot'
    case 'mdm.master':
      return (fields.term as number) > 1 ? 'another MDM became master' : null
    case 'slices.joined':
      return (fields.joined as number) > 0 ? 'copy joined' : null
    case 'slices.changed':
      if (fields.why === 'roles handed over') return 'roles handed over at a clean stop'
      return fields.why === 'primary out of reach' ? 'roles moved to where an SDC reaches them' : null
    case 'sds.resync-restart':
      return 'filling interrupted'
    case 'slices.waiting':
      return 'slices waited for the other copy'
    case 'sds.hello-refused':
      return /session|process/.test(String(fields.reason)) ? 'older session refused' : null
    case 'sds.peer-up':
      return fields.again ? 'SDS opened a session again' : null
    case 'session.up':
      return (fields.counter as number) > 1 ? 'SDC opened a session again' : null
    default:
      return null
  }
}
