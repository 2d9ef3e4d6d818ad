import { seededRandom } from '../support/index.js'
import type { SimCluster, SimProcess } from './cluster.js'
import { CopyStories } from './copy-stories.js'
import { MdmFaults } from './mdm-faults.js'
import { MdmOperator } from './mdm-operator.js'
import { NetworkFaults, type Striker } from './network-faults.js'
import type { Operator } from './operator.js'
import type { FaultKind, RunPlan } from './plan.js'
import type { Situations } from './situations.js'
import type { Storyteller } from './stories.js'
import { isWound, type WoundKind, Wounds } from './wounds.js'

/** Strikes at random moments, and heals what it has broken after a while. */
export class Faults implements Striker, Storyteller {
  readonly random
  readonly wounds: Wounds
  readonly mdms: MdmFaults
  readonly mdmOperator: MdmOperator
  readonly #network = new NetworkFaults(this)
  readonly #stories = new CopyStories(this)
  isOver = false
  /** Ends of what is broken now. */
  readonly #heals = new Set<() => void>()
  struck = 0

  constructor(
    readonly plan: RunPlan,
    readonly cluster: SimCluster,
    readonly situations: Situations,
    readonly operator: Operator,
  ) {
    this.random = seededRandom(plan.seed * 4 + 3)
    this.mdms = new MdmFaults(this)
    this.mdmOperator = new MdmOperator(cluster, operator, this.random)
    this.wounds = new Wounds(cluster, operator, () => this.#heals.size === 0)
  }

  start(): void {
    if (this.plan.faults.length > 0) this.#later()
  }

  /** Nothing breaks from here on; all that is broken heals now, in any order. */
  end(): void {
    this.isOver = true
    this.wounds.end()
    this.operator.end()
    const heals = [...this.#heals]
    this.#heals.clear()
    for (let left = heals.length; left > 0; left--) heals.splice(this.random.integer(left), 1)[0]!()
    this.cluster.world.network.heal()
    for (const { name, state } of this.cluster.processes.values()) if (state === 'down') this.cluster.start(name)
  }

  #later(): void {
    const delayMs = (this.random.integer(2000) / 1000) * this.plan.faultEveryMs
    this.cluster.clock.setTimer(delayMs, () => {
      if (this.isOver) return
      this.#strike(this.plan.faults[this.random.integer(this.plan.faults.length)]!)
      this.#later()
    })
  }

  #strike(kind: FaultKind): void {
    if (this.wounds.forbids(kind)) return
    this.struck++
    const strikes: Record<Exclude<FaultKind, WoundKind>, () => void> = {
      'crash-sds': () => this.#crash('sds'),
      'crash-sdc': () => this.#crash('sdc'),
      'crash-mdm': () => this.#crash('mdm'),
      'restart-sds': () => this.#restart('sds'),
      'restart-sdc': () => this.#restart('sdc'),
      'restart-mdm': () => this.#restart('mdm'),
      'power-sds': () => this.power(this.pick('sds')),
      'power-sdc': () => this.power(this.pick('sdc')),
      'power-mdm': () => this.power(this.pick('mdm')),
      'power-all': () => this.#powerAll(),
      'crash-host': () => this.#crashHost(),
      'power-host': () => this.#powerHost(),
      'sdc-behind-clog': () => this.#stories.sdcBehindClog(),
      'fault-set-away': () => this.#faultSetAway(),
      'stop-while-parted': () => this.#stories.stopWhileParted(),
      'write-half-done': () => this.#stories.writeHalfDone(),
      'source-dies-filling': () => this.#stories.sourceDiesFilling(),
      'source-lost-after-filling': () => this.#stories.sourceLostAfterFilling(),
      'part-primary': () => this.#stories.partPrimary(),
      'part-primary-and-show-it-its-successor': () => this.#stories.partPrimaryAndShowItItsSuccessor(),
      'part-primary-and-restart-its-secondary': () => this.#stories.partPrimaryAndRestartItsSecondary(),
      'part-primary-and-lose-its-successor': () => this.#stories.partPrimaryAndLoseItsSuccessor(),
      'die-half-done': () => this.#stories.dieHalfDone(),
      'stop-who-waits': () => this.#stories.stopWhoWaits(),
      'lose-primary': () => this.#stories.losePrimary(),
      'lose-both': () => this.#stories.loseBoth(),
      'join-while-slow': () => this.#stories.joinWhileSlow(),
      'join-while-written': () => this.#stories.joinWhileWritten(),
      'answers-kept-back': () => this.#stories.answersKeptBack(),
      'swap-half-done': () => this.#stories.swapHalfDone(),
      stall: () => this.#stall(),
      cut: () => this.#network.cut(),
      split: () => this.#network.split(),
      'sdc-cut': () => this.#network.sdcCut(),
      mute: () => this.#network.mute(),
      drop: () => this.#network.drop(),
      'cut-and-crash': () => this.#stories.cutAndCrash(),
      clog: () => this.#network.clog(),
      'slow-link': () => this.#network.slowLink(),
      'slow-disk': () => this.#slowDisk(),
      'add-device': () => this.operator.addDevice(),
      'remove-device': () => this.operator.removeDevice(),
      'add-sds': () => this.operator.addSds(),
      'remove-sds': () => this.operator.removeSds(),
      maintenance: () => this.operator.maintenance(),
      'grow-volume': () => this.operator.growVolume(),
      'passing-volume': () => this.operator.passingVolume(),
      policies: () => this.operator.policies(),
      'crash-master': () => this.mdms.crashMaster(),
      'power-mdms': () => this.mdms.powerAll(),
      'stall-master': () => this.mdms.stallMaster(),
      'cut-master': () => this.mdms.cutMaster(),
      'split-mdms': () => this.mdms.split(),
      'switch-ownership': () => this.mdmOperator.switchOwnership(),
      'switch-mode': () => this.mdmOperator.switchMode(),
      'replace-mdm': () => this.mdmOperator.replace(),
    }
    if (isWound(kind)) this.wounds.begin(kind)
    else strikes[kind]()
  }

  pick(role: SimProcess['role']): SimProcess {
    const processes = this.cluster.ofRole(role)
    return processes[this.random.integer(processes.length)]!
  }

  #any(): SimProcess {
    const processes = [...this.cluster.processes.values()]
    return processes[this.random.integer(processes.length)]!
  }

  /** Mostly short, now and then long. */
  awayMs(): number {
    return this.random.integer(10) === 0 ? this.random.integer(20_000) : this.random.integer(1_500)
  }

  /** Breaks something until `heal` is called, after `ms` or at the end. */
  forMs(ms: number, heal: () => void): void {
    this.#heals.add(heal)
    this.cluster.clock.setTimer(ms, () => {
      if (this.#heals.delete(heal)) heal()
    })
  }

  #crash(role: SimProcess['role']): void {
    this.crash(this.pick(role))
  }

  /** Between any two steps that the process takes next. */
  #afterSomeEvents(process: SimProcess, strike: () => void): void {
    if (process.state === 'down') return
    const { generation, ports } = process
    const { clock } = ports!
    let eventsLeft = 1 + this.random.integer(60)
    clock.onEvent = () => {
      if (--eventsLeft !== 0) return
      clock.onEvent = null
      this.cluster.clock.afterJobs(() => {
        if (this.isOver || this.wounds.isOpen) return
        if (process.generation === generation && process.state !== 'down') strike()
      })
    }
  }

  /** SIGKILL. */
  kill(process: SimProcess, awayMs: number): void {
    if (process.state === 'down') return
    this.#noteKill(process)
    this.cluster.kill(process.name)
    this.cluster.startIn(process.name, awayMs)
  }

  #noteKill(process: SimProcess): void {
    if (process.role === 'mdm') this.situations.reached('MDM killed')
    if (process.role === 'sds' && this.#underWay(process) > 0)
      this.situations.reached('SDS killed with requests under way')
  }

  #underWay(process: SimProcess): number {
    let total = 0
    for (const { name, value } of process.daemon?.metrics() ?? [])
      if (name === 'blockmesh_sds_device_requests') total += value
    return total
  }

  #restart(role: SimProcess['role']): void {
    const process = this.pick(role)
    const awayMs = this.awayMs()
    if (process.state === 'up' && role === 'sds') this.situations.reached('clean restart of an SDS')
    this.cluster.stop(process.name, () => this.cluster.startIn(process.name, awayMs))
  }

  crash(process: SimProcess): void {
    const awayMs = this.awayMs()
    this.#afterSomeEvents(process, () => this.kill(process, awayMs))
  }

  power(process: SimProcess, awayMs = this.awayMs()): void {
    const { disks, metaStores } = this.cluster.world.portsOfHost(process.name)
    for (const file of disks.files.values())
      if (file.unsyncedNow > 0) this.situations.reached('power loss with unsynced data')
    if (process.role === 'sds' && metaStores.unsyncedCount > 0)
      this.situations.reached('power loss with an unsynced index')
    this.cluster.powerLoss(process.name)
    this.cluster.startIn(process.name, awayMs)
  }

  /** The whole room goes dark. */
  #powerAll(): void {
    this.situations.reached('power loss of all SDSs')
    for (const process of this.cluster.ofRole('sds')) this.power(process)
    if (this.random.integer(2) === 0) for (const process of this.cluster.ofRole('mdm')) this.power(process)
  }

  /** An SDS and an SDC on one host. */
  #crashHost(): void {
    const [sds, sdc] = [this.pick('sds'), this.pick('sdc')]
    const awayMs = this.random.integer(800)
    this.#afterSomeEvents(sds, () => {
      this.kill(sds, awayMs)
      this.kill(sdc, awayMs)
    })
  }

  #powerHost(): void {
    this.power(this.pick('sds'))
    this.power(this.pick('sdc'))
  }

  /** A rack loses its power or its switch, for longer than its copies are waited for. */
  #faultSetAway(): void {
    const { map } = this.cluster
    if (map === null) return
    const one = this.pick('sds').name
    const faultSet = [...map.tables.sdss.values()].find(({ name }) => name === one)?.faultSetId
    const members = [...map.tables.sdss.values()].filter(({ faultSetId }) => faultSetId === faultSet)
    if (faultSet === undefined || members.length === 0) return
    const awayMs = Math.min(20_000, this.plan.graceMs) + this.random.integer(3_000)
    const power = this.random.integer(2) === 0
    this.situations.reached('fault set away')
    this.say(`${members.map(({ name }) => name).join(', ')} are away for ${awayMs} ms`)
    for (const { name } of members) {
      if (power) this.cluster.powerLoss(name)
      else this.cluster.kill(name)
      this.cluster.startIn(name, awayMs + this.random.integer(500))
    }
  }

  #stall(): void {
    const { ports, state, name } = this.#any()
    if (state === 'down' || ports === null) return
    const ms = this.random.integer(4) === 0 ? 1_000 + this.random.integer(19_000) : this.random.integer(2_000)
    this.situations.reached('process stalled')
    this.say(`${name} stalls for ${ms} ms`)
    ports.clock.stall(ms)
  }

  #slowDisk(): void {
    const process = this.pick('sds')
    const { disks, metaStores } = this.cluster.world.portsOfHost(process.name)
    const ms = 1 + this.random.integer(50)
    this.say(`the disks of ${process.name} take ${ms} ms more`)
    for (const path of disks.files.keys()) disks.slow(path, ms)
    const { commitDelayMs, flushDelayMs } = metaStores
    metaStores.commitDelayMs += this.random.integer(ms)
    metaStores.flushDelayMs += this.random.integer(ms)
    this.forMs(this.random.integer(5_000), () => {
      for (const path of disks.files.keys()) disks.heal(path)
      metaStores.commitDelayMs = commitDelayMs
      metaStores.flushDelayMs = flushDelayMs
    })
  }

  say(what: string): void {
    this.cluster.transcript.say(`fault  ${what}`)
  }
}
