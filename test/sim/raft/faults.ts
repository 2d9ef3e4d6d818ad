import { electionTicks, type SimMember, tickTime, type World } from './member.js'
import type { FaultName } from './plan.js'

const electionTime = electionTicks * tickTime

/** Carries out one fault after another. */
export class Faults {
  #nextId = 1_000_000

  constructor(readonly world: World) {}

  strike(fault: FaultName): void {
    const { random, network } = this.world
    const up = this.#all.filter(member => member.raft !== null)
    const one = up[random.integer(Math.max(1, up.length))]
    if (!one) return
    const others = this.#all.filter(member => member !== one)
    const other = others[random.integer(Math.max(1, others.length))] ?? one
    this.world.note(`fault: ${fault} ${one.id}`)
    // What is cut is mended after a while; more than a few cuts at once would only stop everything.
    if (random.integer(2) === 0) network.heal()
    switch (fault) {
      case 'crash':
        this.crash(one, random.integer(4 * electionTime))
        break
      case 'blink':
        this.crash(one, random.integer(20))
        break
      case 'crash-all':
        for (const member of up) this.crash(member, random.integer(2 * electionTime))
        break
      case 'isolate':
        this.isolate(one)
        break
      case 'isolate-one-way':
        for (const { id } of others)
          network.block(...((random.integer(2) ? [one.id, id] : [id, one.id]) as [string, string]))
        break
      case 'cut':
        this.#cut(one.id, other.id)
        break
      case 'cut-one-way':
        network.block(one.id, other.id)
        break
      case 'split': {
        const side = this.#all.filter(() => random.integer(2) === 0)
        for (const near of side) for (const far of this.#all) if (!side.includes(far)) this.#cut(near.id, far.id)
        break
      }
      case 'heal':
        network.heal()
        break
      case 'pause':
        one.pause(random.integer(3 * electionTime))
        break
      case 'slow-disk':
        one.disk.syncMax = 1 + random.integer(2 * electionTime)
        break
      case 'transfer':
        this.#leader?.transferTo(other.id)
        break
      case 'campaign':
        one.campaign()
        break
      case 'rivals':
        this.#rivals()
        break
      case 'burst':
        for (let left = 40; left > 0; left--) this.#leader?.propose(this.#nextId++)
        break
      case 'drift':
        one.clockRate = 0.6 + random.integer(90) / 100
        break
    }
  }

  /** Everything works again. */
  heal(): void {
    this.world.network.heal()
    this.world.network.plan = { lossPercent: 0, duplicatePercent: 0, delayMax: 5 }
    for (const member of this.#all) {
      member.disk.syncMax = 3
      member.clockRate = 1
      member.resume()
      member.start()
    }
  }

  /** The leader ends, the others campaign against each other, and one of them ends and comes back meanwhile. */
  #rivals(): void {
    const { random, timeline } = this.world
    for (const member of this.#all) {
      if (member.isLeading || random.integer(3) === 0) this.crash(member, random.integer(20))
      for (let times = 2; times > 0; times--) timeline.after(1 + random.integer(60), () => member.campaign())
      if (random.integer(2) === 0) timeline.after(random.integer(200), () => this.crash(member, random.integer(10)))
    }
  }

  isolate({ id }: SimMember): void {
    for (const other of this.#all) if (other.id !== id) this.#cut(id, other.id)
  }

  crash(member: SimMember, awayTime: number): void {
    member.crash()
    this.world.timeline.after(1 + awayTime, () => member.start())
  }

  #cut(one: string, other: string): void {
    this.world.network.block(one, other)
    this.world.network.block(other, one)
  }

  get #all(): SimMember[] {
    return [...this.world.members.values()]
  }

  get #leader(): SimMember | undefined {
    return this.#all.find(member => member.isLeading)
  }
}
