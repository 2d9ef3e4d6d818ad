import type { Random } from '../../src/ports/index.js'
import type { SimCluster } from './cluster.js'
import type { Situations } from './situations.js'

/** What these need of whoever strikes. */
export interface Striker {
  readonly cluster: SimCluster
  readonly situations: Situations
  readonly random: Random
  say(what: string): void
  /** Mostly short, now and then long. */
  awayMs(): number
  /** Breaks something until `heal` is called, after `ms` or at the end. */
  forMs(ms: number, heal: () => void): void
}

/** Links between processes: cut, one way only, clogged, slow, broken. */
export class NetworkFaults {
  constructor(readonly striker: Striker) {}

  get #network() {
    return this.striker.cluster.world.network
  }
  get #names(): string[] {
    return [...this.striker.cluster.processes.keys()]
  }

  #pair(): [string, string] {
    const names = this.#names
    const at = this.striker.random.integer(names.length)
    const step = 1 + this.striker.random.integer(names.length - 1)
    return [names[at]!, names[(at + step) % names.length]!]
  }

  cut(): void {
    const { random } = this.striker
    // One from one, or one from everybody.
    const [a, b] = this.#pair()
    const others = random.integer(3) === 0 ? this.#names.filter(name => name !== a) : [b]
    const ms = this.striker.awayMs()
    this.striker.say(`${a} is cut from ${others.join(', ')} for ${ms} ms`)
    for (const other of others) this.#network.cut(a, other)
    this.striker.forMs(ms, () => {
      for (const other of others) this.#rejoin(a, other)
    })
  }

  /** Some connections outlive the cut, some do not. */
  #rejoin(a: string, b: string): void {
    this.#network.heal(a, b)
    if (this.striker.random.integer(2) === 0) this.#network.drop(a, b)
  }

  /** Two sides that do not see each other; one such parting at a time. */
  split(): void {
    if (this.#isSplit) return
    this.#isSplit = true
    const { random } = this.striker
    const { plan } = this.striker.cluster
    const sides: [string[], string[]] = [[], []]
    // Any two sides; or one SDS that has a client on its side, and nobody else.
    const pair = [`sds-${1 + random.integer(plan.sdss)}`, `sdc-${1 + random.integer(plan.sdcs)}`]
    const isPair = random.integer(2) === 0
    for (const name of this.#names) sides[isPair ? Number(!pair.includes(name)) : random.integer(2)]!.push(name)
    const ms = 500 + random.integer(plan.leaseMs + 3_000)
    this.striker.say(`${sides[0].join(' ')} | ${sides[1].join(' ')} for ${ms} ms`)
    this.striker.situations.reached('two-way partition')
    const pairs = sides[0].flatMap(a => sides[1].map(b => [a, b] as const))
    for (const [a, b] of pairs) this.#network.cut(a, b)
    this.striker.forMs(ms, () => {
      this.#isSplit = false
      for (const [a, b] of pairs) this.#rejoin(a, b)
    })
  }

  #isSplit = false

  /** One SDC does not reach one SDS, long enough for the MDM to hear of it; everybody else does. */
  sdcCut(): void {
    const { random } = this.striker
    const { plan } = this.striker.cluster
    const [sdc, sds] = [`sdc-${1 + random.integer(plan.sdcs)}`, `sds-${1 + random.integer(plan.sdss)}`]
    const ms = 2_000 + random.integer(8_000)
    this.striker.say(`${sdc} does not reach ${sds} for ${ms} ms`)
    this.#network.cut(sdc, sds)
    this.striker.forMs(ms, () => this.#rejoin(sdc, sds))
  }

  mute(): void {
    const [a, b] = this.#pair()
    const ms = this.striker.awayMs()
    this.striker.say(`nothing goes from ${a} to ${b} for ${ms} ms`)
    this.striker.situations.reached('one-way partition')
    this.#network.mute(a, b)
    this.striker.forMs(ms, () => this.#rejoin(a, b))
  }

  drop(): void {
    const [a, b] = this.#pair()
    const everything = this.striker.random.integer(4) === 0
    this.striker.say(`connections of ${a} ${everything ? '' : `with ${b} `}break`)
    this.#network.drop(a, everything ? undefined : b)
  }

  /** Links clog one after the other, and are released in another order. */
  clog(): void {
    const pairs = Array.from({ length: 2 + this.striker.random.integer(4) }, () => this.#pair())
    this.striker.say(`links clog: ${pairs.map(pair => pair.join('/')).join(' ')}`)
    for (const [a, b] of pairs) {
      this.#network.cut(a, b)
      this.striker.forMs(this.striker.random.integer(1_500), () => this.#network.heal(a, b))
    }
  }

  slowLink(): void {
    const [a, b] = this.#pair()
    const ms = 5 + this.striker.random.integer(200)
    this.striker.say(`the link ${a}/${b} takes ${ms} ms`)
    this.#network.slow(a, b, ms)
    this.striker.forMs(this.striker.random.integer(5_000), () => this.#network.heal(a, b))
  }
}
