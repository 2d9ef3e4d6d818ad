import type { DeviceId } from '../../src/base/ids.js'
import type { SliceRecord } from '../../src/model/index.js'
import type { SimCluster, SimProcess } from './cluster.js'
import type { Striker } from './network-faults.js'

/** What these need of whoever strikes. */
export interface Storyteller extends Striker {
  readonly cluster: SimCluster
  readonly isOver: boolean
  pick(role: SimProcess['role']): SimProcess
  /** SIGKILL, and a new process after `awayMs`. */
  kill(process: SimProcess, awayMs: number): void
  /** Its host loses power, and comes back after `awayMs`. */
  power(process: SimProcess, awayMs?: number): void
}

/** A primary that is parted from the others, and who takes its place. */
interface Parting {
  old: SimProcess
  successor: SimProcess
}

const lookMs = 1
const looksMax = 8_000

/** Faults of several steps, each aimed at the moment for which a rule was made. */
export class Stories {
  constructor(readonly teller: Storyteller) {}

  protected get cluster() {
    return this.teller.cluster
  }
  protected get network() {
    return this.cluster.world.network
  }
  protected others(name: string): string[] {
    return this.cluster
      .ofRole('sds')
      .map(other => other.name)
      .filter(other => other !== name)
  }

  /** What an SDC has sent is stuck in the network while its next process is there already. */
  sdcBehindClog(): void {
    const { name } = this.teller.pick('sdc')
    const other = this.teller.pick('sds').name
    const ms = 20 + this.teller.random.integer(100)
    this.teller.say(`${name} dies while its link to ${other} is clogged for ${ms} ms`)
    this.network.cut(name, other)
    this.later(10, () => {
      this.cluster.kill(name)
      this.cluster.startIn(name, 1)
    })
    this.teller.forMs(ms, () => this.network.heal(name, other))
  }

  /**
   * An SDS is told to stop while it cannot reach the others, and nobody can drop their copies. Clients that send nothing
   * again end with it: what it leaves unfinished nobody finishes.
   */
  stopWhileParted(): void {
    const { name, state } = this.teller.pick('sds')
    if (this.isTelling || state !== 'up') return
    this.isTelling = true
    const ms = 24_000
    this.teller.say(`${name} is cut from the other SDSs, the MDMs are away, and ${name} stops`)
    for (const mdm of this.cluster.ofRole('mdm')) this.teller.kill(mdm, ms)
    for (const other of this.others(name)) this.network.cut(name, other)
    this.later(200, () =>
      this.cluster.stop(name, () => {
        if (!this.cluster.plan.resends && !this.teller.isOver)
          for (const sdc of this.cluster.ofRole('sdc')) this.teller.kill(sdc, 500)
        this.cluster.startIn(name, 1_000)
      }),
    )
    this.teller.forMs(ms, () => {
      this.isTelling = false
      for (const other of this.others(name)) this.network.heal(name, other)
    })
  }

  /** An SDS is cut from the others, goes on alone for a moment, and dies. */
  cutAndCrash(): void {
    const { name } = this.teller.pick('sds')
    const ms = 1 + this.teller.random.integer(600)
    this.teller.say(`${name} is cut from the other SDSs, and dies after ${ms} ms`)
    for (const other of this.others(name)) this.network.cut(name, other)
    this.teller.forMs(ms, () => {
      if (this.teller.random.integer(2) === 0) this.teller.power(this.cluster.process(name))
      else this.teller.kill(this.cluster.process(name), this.teller.awayMs())
      for (const other of this.others(name)) this.network.heal(name, other)
    })
  }

  /** Writes are on an SDS and still on their way to the other copies when it dies, and the client that writes with it. */
  writeHalfDone(): void {
    const { name } = this.teller.pick('sds')
    const sdcs = this.cluster.ofRole('sdc')
    // The first one may be there to read.
    const writer = sdcs[sdcs.length - 1]!
    const slowMs = 150 + this.teller.random.integer(250)
    this.teller.say(`${name} takes ${slowMs} ms to reach the other SDSs, and dies with ${writer.name}`)
    for (const other of this.others(name)) this.network.slow(name, other, slowMs)
    this.later(this.teller.random.integer(slowMs), () => {
      this.teller.kill(this.cluster.process(name), 500 + this.teller.random.integer(1_500))
      this.teller.kill(writer, this.teller.random.integer(300))
    })
    this.teller.forMs(slowMs, () => {
      for (const other of this.others(name)) this.network.heal(name, other)
    })
  }

  /** A copy comes back, and the primary that brings it up to date dies before it is done. */
  sourceDiesFilling(): void {
    this.goAndComeBack((process, filled) => {
      const source = this.sdsOf(filled.primary)
      if (source === undefined || source === process || filled.joining === null) return false
      this.teller.say(`${source.name} dies while it fills ${process.name}`)
      this.teller.kill(source, this.teller.random.integer(400))
      return true
    })
  }

  /**
   * A copy comes back and is in sync again; who brought it up to date loses power and stays away. The copy is promoted, and
   * loses power as well, before anybody has flushed anything on it.
   */
  sourceLostAfterFilling(): void {
    const joined = new Set<number>()
    let source: SimProcess | undefined
    this.goAndComeBack((process, { slice, primary, secondary, joining }) => {
      if (joining !== null) joined.add(slice)
      else if (source === undefined && secondary !== null && joined.has(slice)) {
        if (this.sdsOf(secondary) !== process) return false
        source = this.sdsOf(primary)
        if (source === undefined) return true
        this.teller.say(`${source.name} has filled slice ${slice} of ${process.name}, and loses power`)
        const { graceMs } = this.cluster.plan
        this.teller.power(source, Math.min(graceMs, 10_000) + 5_000)
      } else if (source !== undefined && this.sdsOf(primary) === process) {
        this.teller.power(process, this.teller.random.integer(300))
        return true
      }
      return false
    })
  }

  /**
   * Kills an SDS that has a secondary copy in sync, starts it again, and shows the records of its slices as they change,
   * until `act` has done its part. One such story at a time.
   */
  protected goAndComeBack(act: (process: SimProcess, record: SliceRecord) => boolean): void {
    const healthy = this.records().filter(({ secondary, joining }) => secondary !== null && joining === null)
    if (this.isTelling || healthy.length === 0) return
    const process = this.sdsOf(healthy[this.teller.random.integer(healthy.length)]!.secondary!)
    if (process?.state !== 'up') return
    this.isTelling = true
    const own = this.devicesOf(process)
    const awayMs = 2_000 + this.teller.random.integer(1_000)
    this.teller.say(`${process.name} goes for ${awayMs} ms`)
    this.teller.kill(process, awayMs)
    let looksLeft = looksMax
    const look = () => {
      const isDone = this.records()
        .filter(({ primary, secondary, joining }) => own.has(primary) || own.has(secondary!) || own.has(joining!))
        .some(record => act(process, record))
      if (isDone || looksLeft-- === 0) this.isTelling = false
      else this.later(lookMs, look)
    }
    this.later(awayMs, look)
  }

  /**
   * The primary of a slice is parted from everybody but the first SDC, which may be there to read: it goes on answering for
   * as long as its lease lasts, while the others go on without it. `andThen` is shown the record until it has done its part.
   */
  partPrimary(andThen: (parting: Parting, record: SliceRecord) => boolean = () => true): void {
    const healthy = this.records().filter(({ secondary, joining }) => secondary !== null && joining === null)
    if (this.isTelling || healthy.length === 0) return
    const { slice, primary, secondary } = healthy[this.teller.random.integer(healthy.length)]!
    const [old, successor] = [this.sdsOf(primary), this.sdsOf(secondary!)]
    if (old?.state !== 'up' || successor?.state !== 'up') return
    this.isTelling = true
    const side = [old.name, this.cluster.ofRole('sdc')[0]!.name]
    const others = [...this.cluster.processes.keys()].filter(name => !side.includes(name))
    const ms = this.cluster.plan.leaseMs + 3_000
    this.teller.say(`${side.join(' ')} | the others for ${ms} ms`)
    const pairs = side.flatMap(a => others.map(b => [a, b] as const))
    for (const [a, b] of pairs) this.network.cut(a, b)
    let isHealed = false
    this.teller.forMs(ms, () => {
      isHealed = true
      this.isTelling = false
      for (const [a, b] of pairs) this.network.heal(a, b)
    })
    const look = () => {
      const record = this.records().find(record => record.slice === slice)
      if (!isHealed && record !== undefined && !andThen({ old, successor }, record)) this.later(lookMs, look)
    }
    look()
  }

  /** The old primary meets its successor again, which knows more and hands out leases, before it meets anybody else. */
  partPrimaryAndShowItItsSuccessor(): void {
    this.partPrimary(({ old, successor }, { primary }) => {
      if (this.sdsOf(primary) !== successor) return false
      this.later(1_500, () => this.network.heal(old.name, successor.name))
      return true
    })
  }

  /** The secondary's next process has not granted the lease that the old one granted. */
  partPrimaryAndRestartItsSecondary(): void {
    this.partPrimary(({ successor }) => {
      this.cluster.stop(successor.name, () => this.cluster.startIn(successor.name, 50))
      return true
    })
  }

  /**
   * Whoever takes the place of the primary is replaced in its turn as soon as there is another copy: by one that has
   * promised the old primary nothing, not even by having started.
   */
  partPrimaryAndLoseItsSuccessor(): void {
    if (this.cluster.clock.nowMs() < 1.2 * this.cluster.plan.leaseMs) return
    this.partPrimary(({ successor }, { primary, secondary, joining }) => {
      if (this.sdsOf(primary) !== successor || secondary === null || joining !== null) return false
      // Its next process says that this one is gone: nobody waits for what was granted to it.
      this.teller.kill(successor, 50)
      return true
    })
  }

  protected isTelling = false

  protected records(): SliceRecord[] {
    return [...(this.cluster.map?.slices.values() ?? [])].flat()
  }

  protected devicesOf({ name }: SimProcess): Set<DeviceId> {
    const { sdss, devices } = this.cluster.map?.tables ?? { sdss: new Map(), devices: new Map() }
    const own = [...devices.values()].filter(({ sdsId }) => sdss.get(sdsId)?.name === name)
    return new Set(own.map(({ id }) => id))
  }

  protected sdsOf(device: DeviceId): SimProcess | undefined {
    return this.cluster.ofRole('sds').find(process => this.devicesOf(process).has(device))
  }

  protected later(delayMs: number, act: () => void): void {
    this.cluster.clock.setTimer(delayMs, () => {
      if (!this.teller.isOver) act()
    })
  }
}
