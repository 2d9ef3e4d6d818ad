import type { DeviceId } from '../../src/base/ids.js'
import type { SliceRecord } from '../../src/model/index.js'
import type { SimProcess } from './cluster.js'
import { Stories } from './stories.js'

/** A slice with two copies in sync, and who has them. */
interface Pair {
  slice: number
  primary: SimProcess
  secondary: SimProcess
}

const looksMax = 15_000

/** Faults of several steps after which the two copies of a slice differ, unless the rules hold. */
export class CopyStories extends Stories {
  /**
   * A primary has done writes that no other copy has heard of when it dies, and their client with it: nobody sends them
   * again. It is back at once.
   */
  dieHalfDone(): void {
    const pair = this.#pick()
    if (pair === null) return
    const { primary } = pair
    const ms = 100 + this.teller.random.integer(200)
    this.tell(`${primary.name} is cut from the other SDSs, and dies after ${ms} ms with ${this.#writer.name}`)
    for (const other of this.others(primary.name)) this.network.cut(primary.name, other)
    this.#end(ms, () => {
      for (const other of this.others(primary.name)) this.network.drop(primary.name, other)
      this.teller.kill(this.#writer, 300)
      this.teller.kill(primary, 20 + this.teller.random.integer(200))
      for (const other of this.others(primary.name)) this.network.heal(primary.name, other)
    })
  }

  /**
   * Both copies lose power. The one that is back first waits for the other, is stopped meanwhile, and is back once more when
   * the other waits for it: what it has lost is not forgotten over that.
   */
  stopWhoWaits(): void {
    const pair = this.#pick()
    if (pair === null) return
    const both = [pair.primary, pair.secondary]
    if (this.teller.random.integer(2) === 0) both.reverse()
    const [first, second] = both as [SimProcess, SimProcess]
    this.tell(`${first.name} and ${second.name} lose power; ${first.name} is back first, and stops while it waits`)
    // Whoever is there hears at once that they are gone.
    for (const { name } of both) this.cluster.kill(name)
    for (const { name } of both) this.cluster.powerLoss(name)
    this.cluster.startIn(first.name, 50)
    const stopFirst = () => {
      const startSecond = () => this.cluster.startIn(second.name, 50)
      if (this.teller.random.integer(2) === 0) this.cluster.stop(first.name, startSecond)
      else {
        this.cluster.kill(first.name)
        startSecond()
      }
      this.#when(
        () => this.#waits(second),
        () => {
          this.isTelling = false
          this.cluster.startIn(first.name, 50)
        },
      )
    }
    this.#when(
      () => this.#waits(first),
      // By then it has been filled with what it lacks of other slices: what it has last noted is of after the loss.
      () => this.later(600, stopFirst),
    )
  }

  /** The primary loses power and is back at once. */
  losePrimary(): void {
    const pair = this.#pick()
    if (pair === null) return
    this.teller.say(`${pair.primary.name} loses power for a moment`)
    this.teller.power(pair.primary, 50)
  }

  /** The primary is gone for long. Who takes its place loses power before anybody has asked it to flush anything. */
  loseBoth(): void {
    const pair = this.#pick()
    if (pair === null) return
    const { slice, primary, secondary } = pair
    this.tell(`${primary.name} loses power, and then ${secondary.name}, when it has taken its place`)
    this.teller.power(primary, 6_000)
    this.#when(
      () => this.#isOn(this.#record(slice)?.primary, secondary),
      () => {
        this.isTelling = false
        this.teller.power(secondary, 500)
      },
    )
  }

  /** Writes are on their slow way to a copy when it joins; then its source dies, and it answers reads. */
  joinWhileSlow(): void {
    let chunksMax = 0
    const isNearlyFilled = (source: SimProcess) => {
      const chunks = chunksLeft(source)
      chunksMax = Math.max(chunksMax, chunks)
      return chunksMax > 1 && chunks <= 1
    }
    this.#joinWhile(isNearlyFilled, (source, joining) => {
      this.network.slow(source.name, joining.name, 40)
      return () => this.network.heal(source.name, joining.name)
    })
  }

  /** What a copy is filled with takes long to be read, and is written meanwhile; then its source dies. */
  joinWhileWritten(): void {
    const atOnce = () => true
    this.#joinWhile(atOnce, source => {
      const { disks } = this.cluster.world.portsOfHost(source.name)
      for (const path of disks.files.keys()) disks.slow(path, 60)
      return () => {
        for (const path of disks.files.keys()) disks.heal(path)
      }
    })
  }

  /** A secondary dies and is back at once; `hinder` begins when it joins and it is time, and what it answers ends that. */
  #joinWhile(
    isTime: (source: SimProcess) => boolean,
    hinder: (source: SimProcess, joining: SimProcess) => () => void,
  ): void {
    const pair = this.#pick()
    if (pair === null) return
    const { slice, primary: source, secondary: copy } = pair
    this.tell(`${copy.name} dies, and ${source.name} when it has filled it`)
    this.teller.kill(copy, 20)
    this.#when(
      () => this.#isOn(this.#record(slice)?.joining, copy) && isTime(source),
      () => {
        const heal = hinder(source, copy)
        this.teller.forMs(5_000, heal)
        this.#when(
          () => this.#isOn(this.#record(slice)?.secondary, copy),
          () => {
            this.isTelling = false
            this.later(3 + this.teller.random.integer(10), () => {
              heal()
              this.teller.kill(source, 50)
            })
          },
        )
      },
    )
  }

  /**
   * Answers of a primary are stuck in the network until another one has done what they answer, and its client has gone on to
   * other requests.
   */
  answersKeptBack(): void {
    const pair = this.#pick()
    if (pair === null) return
    const { primary } = pair
    const { name } = this.#writer
    this.tell(`what ${primary.name} answers ${name} is kept back, and ${primary.name} dies`)
    this.network.mute(primary.name, name)
    this.later(20 + this.teller.random.integer(100), () => this.teller.kill(primary, 50))
    this.#end(500 + this.teller.random.integer(500), () => this.network.heal(primary.name, name))
  }

  /**
   * A primary is told to stop while writes are on their slow way to the other copy, and their client dies. What it says to
   * the MDMs once the roles are swapped is lost.
   */
  swapHalfDone(): void {
    const pair = this.#pick()
    if (pair === null) return
    const { slice, primary, secondary } = pair
    const { name } = primary
    const mdms = this.cluster.ofRole('mdm').map(mdm => mdm.name)
    this.tell(`${name} stops, slowly; ${this.#writer.name} dies`)
    this.network.slow(name, secondary.name, 600)
    for (const mdm of mdms) this.network.slow(name, mdm, 150)
    const heal = () => {
      for (const other of [secondary.name, ...mdms]) this.network.heal(name, other)
    }
    this.cluster.stop(name, () => {
      for (const other of [secondary.name, ...mdms]) this.network.drop(name, other)
      heal()
      this.cluster.startIn(name, 50)
    })
    // By then it has been asked to let nothing more in.
    this.later(320, () => this.teller.kill(this.#writer, 600))
    this.#when(
      () => this.#isOn(this.#record(slice)?.primary, secondary),
      () => {
        for (const mdm of mdms) this.network.mute(name, mdm)
      },
    )
    this.#end(2_000, heal)
  }

  // ----

  /** The first SDC may be there to read. */
  get #writer(): SimProcess {
    const sdcs = this.cluster.ofRole('sdc')
    return sdcs[sdcs.length - 1]!
  }

  /** null: there is none now, or another story is being told. */
  #pick(): Pair | null {
    const healthy = this.records().filter(({ secondary, joining }) => secondary !== null && joining === null)
    if (this.isTelling || healthy.length === 0) return null
    const { slice, ...record } = healthy[this.teller.random.integer(healthy.length)]!
    const [primary, secondary] = [this.sdsOf(record.primary), this.sdsOf(record.secondary!)]
    return primary?.state === 'up' && secondary?.state === 'up' ? { slice, primary, secondary } : null
  }

  tell(what: string): void {
    this.isTelling = true
    this.teller.say(what)
  }

  #end(ms: number, end: () => void): void {
    this.teller.forMs(ms, () => {
      this.isTelling = false
      end()
    })
  }

  #isOn(device: DeviceId | null | undefined, process: SimProcess): boolean {
    return device != null && this.devicesOf(process).has(device)
  }

  #record(slice: number): SliceRecord | undefined {
    return this.records().find(record => record.slice === slice)
  }

  /** The role of its copies is void, and they wait for others. */
  #waits(process: SimProcess): boolean {
    const { devices } = this.cluster.map?.tables ?? { devices: new Map() }
    return [...this.devicesOf(process)].some(id => devices.get(id)?.waiting)
  }

  #when(isTrue: () => boolean, act: () => void): void {
    let looksLeft = looksMax
    const look = () => {
      if (this.cluster.map !== null && isTrue()) act()
      else if (looksLeft-- > 0) this.later(1, look)
      else this.isTelling = false
    }
    look()
  }
}

/** What the process has still to copy to others. */
function chunksLeft({ daemon }: SimProcess): number {
  let left = 0
  for (const { name, value } of daemon?.metrics() ?? []) if (name === 'blockmesh_sds_resync_chunks_left') left += value
  return left
}
