import type { SimProcess } from './cluster.js'
import type { Striker } from './network-faults.js'

/** What strikes MDMs above all, and the master among them. */
export class MdmFaults {
  #isSplit = false

  constructor(readonly striker: Striker & { power(process: SimProcess): void; crash(process: SimProcess): void }) {}

  get #cluster() {
    return this.striker.cluster
  }
  get #names(): string[] {
    return this.#cluster.ofRole('mdm').map(({ name }) => name)
  }
  get #master(): SimProcess | null {
    const name = this.#cluster.master?.name
    return name === undefined ? null : this.#cluster.process(name)
  }

  crashMaster(): void {
    const master = this.#master
    if (master === null) return
    this.striker.situations.reached('master killed')
    this.striker.say(`the master ${master.name} is to die`)
    this.striker.crash(master)
  }

  /** All of them, or some, at one moment. */
  powerAll(): void {
    const { random } = this.striker
    const isAll = random.integer(2) === 0
    this.striker.situations.reached('power loss of MDMs')
    for (const process of this.#cluster.ofRole('mdm')) if (isAll || random.integer(2) === 0) this.striker.power(process)
  }

  stallMaster(): void {
    const master = this.#master
    if (master?.ports == null) return
    const ms = 100 + this.striker.random.integer(this.striker.random.integer(2) === 0 ? 400 : 6_000)
    this.striker.situations.reached('master stalled')
    this.striker.say(`the master ${master.name} stalls for ${ms} ms`)
    master.ports.clock.stall(ms)
  }

  /** The master goes on seeing daemons and tools, and no other MDM; or the other way round. */
  cutMaster(): void {
    const { network } = this.#cluster.world
    const { random } = this.striker
    const master = this.#master
    if (master === null) return
    const fromMdms = random.integer(3) > 0
    const others = [...this.#cluster.processes.values()].filter(
      ({ name, role }) => name !== master.name && (role === 'mdm') === fromMdms,
    )
    const ms = 300 + random.integer(5_000)
    this.striker.situations.reached('master cut off')
    this.striker.say(`the master ${master.name} is cut from the ${fromMdms ? 'other MDMs' : 'daemons'} for ${ms} ms`)
    for (const { name } of others) network.cut(master.name, name)
    // It finds out late that nobody answers it any more, and by then there is another master.
    const stallMs = random.integer(2) === 0 ? 0 : 1_000 + random.integer(5_000)
    if (stallMs > 0) master.ports?.clock.stall(stallMs)
    this.striker.forMs(ms + stallMs, () => {
      for (const { name } of others) network.heal(master.name, name)
    })
  }

  /** Two sides of MDMs; everybody else sees both. */
  split(): void {
    const names = this.#names
    if (this.#isSplit || names.length < 2) return
    this.#isSplit = true
    const { network } = this.#cluster.world
    const { random } = this.striker
    const sides: [string[], string[]] = [[], []]
    for (const name of names) sides[random.integer(2)]!.push(name)
    const ms = 500 + random.integer(5_000)
    this.striker.situations.reached('MDMs parted')
    this.striker.say(`MDMs ${sides[0].join(' ')} | ${sides[1].join(' ')} for ${ms} ms`)
    const pairs = sides[0].flatMap(a => sides[1].map(b => [a, b] as const))
    for (const [a, b] of pairs) network.cut(a, b)
    this.striker.forMs(ms, () => {
      this.#isSplit = false
      for (const [a, b] of pairs) network.heal(a, b)
    })
  }
}
