import type { Ports } from '../../src/ports/daemon.js'
import type { KernelNbd } from '../../src/ports/kernel-nbd.js'
import type { Log } from '../../src/ports/log.js'
import { silentLog } from '../../src/ports/log.js'
import type { Relay } from '../../src/ports/relay.js'
import { MemoryDisks } from './memory-disks.js'
import { MemoryMetaStores } from './memory-meta-stores.js'
import { seededRandom } from './seeded-random.js'
import { type ProcessClock, SimClock } from './sim-clock.js'
import { SimNetwork } from './sim-link.js'
import { SimReadPasses } from './sim-read-passes.js'
import { SimWritePasses } from './sim-write-passes.js'

/** A host without the kernel's NBD driver. */
export const noKernelNbd: KernelNbd = {
  unavailable: () => 'simulated host',
  attach: () => Promise.reject(new Error('simulated host')),
  reconfigure: () => Promise.reject(new Error('simulated host')),
  resize: () => Promise.reject(new Error('simulated host')),
  detach: () => Promise.reject(new Error('simulated host')),
  attached: () => Promise.resolve([]),
}

/** Simulated clients speak no NBD: there is nothing to relay. */
export const noRelay: Relay = {
  takeBackAll: () => {},
  takeBackOlder: () => {},
  unansweredOn: () => 0,
  newTally: () => ({ ios: 0, bytes: 0, underWay: 0, returned: 0, close: () => {} }),
  newNotes: () => ({ unanswered: 0, close: () => {} }),
}

/** The ports of one process. The next process of that name finds the same disks and meta stores. */
export interface SimPorts extends Ports {
  clock: ProcessClock
  disks: MemoryDisks
  metaStores: MemoryMetaStores
}

interface Host {
  disks: MemoryDisks
  metaStores: MemoryMetaStores
  boots: number
  running: SimPorts | null
  /** Without power. */
  isOff: boolean
}

/** Everything that simulated processes share. One seed, one history. */
export class SimWorld {
  readonly clock = new SimClock()
  readonly random
  readonly network: SimNetwork
  /** Of so many writes below TypeScript a disk does not take one, as a kernel may. */
  writesRefusedEvery = Number.POSITIVE_INFINITY
  readonly #hosts = new Map<string, Host>()

  constructor(seed = 1) {
    this.random = seededRandom(seed)
    this.network = new SimNetwork(this.clock, this.random)
    this.network.processOf = name => this.#hosts.get(name)?.running?.clock ?? null
    this.network.isHostUp = name => !(this.#hosts.get(name)?.isOff ?? false)
  }

  /** Ports for a new process `name`, on the host of that name. */
  portsOf(name: string, log: Log = silentLog, { clockRate = 1 } = {}): SimPorts {
    const host = this.#hostOf(name)
    host.isOff = false
    const clock = this.clock.forProcess(clockRate, () => this.network.wake(name))
    host.disks.deliver = event => clock.deliver(event)
    host.metaStores.deliver = event => clock.deliver(event)
    const ports: SimPorts = {
      clock,
      random: this.random,
      link: this.network.linkOf(name),
      disks: host.disks,
      metaStores: host.metaStores,
      kernelNbd: noKernelNbd,
      readPasses: new SimReadPasses(clock),
      writePasses: new SimWritePasses(clock, this.writesRefusedEvery),
      relay: noRelay,
      log,
      bootId: `boot-${name}-${host.boots}`,
    }
    host.running = ports
    return ports
  }

  /** The disks and meta stores of a host, whether a process runs there or not. */
  portsOfHost(name: string): { disks: MemoryDisks; metaStores: MemoryMetaStores } {
    return this.#hostOf(name)
  }

  /** SIGKILL: what the operating system has stays. */
  crashProcess(name: string): void {
    const host = this.#hostOf(name)
    this.#kill(name, host)
    host.disks.crashProcess()
    host.metaStores.crashProcess()
  }

  /** The host loses power; the next process is in another boot. Nobody is told that its connections are over. */
  powerLoss(name: string): void {
    const host = this.#hostOf(name)
    host.isOff = true
    this.network.vanish(name)
    this.#kill(name, host)
    host.disks.powerLoss()
    host.metaStores.powerLoss()
    host.boots++
  }

  /** The host gets empty disks; its process has ended before. */
  wipe(name: string): void {
    const host = this.#hostOf(name)
    host.disks = new MemoryDisks(this.clock, this.random)
    host.metaStores = new MemoryMetaStores(this.clock, this.random)
  }

  #kill(name: string, host: Host): void {
    host.running?.clock.kill()
    host.running = null
    this.network.crash(name)
  }

  #hostOf(name: string): Host {
    let host = this.#hosts.get(name)
    if (host === undefined) {
      const disks = new MemoryDisks(this.clock, this.random)
      const metaStores = new MemoryMetaStores(this.clock, this.random)
      host = { disks, metaStores, boots: 0, running: null, isOff: false }
      this.#hosts.set(name, host)
    }
    return host
  }
}

/** Ports of one process in a world of its own. */
export function simPorts(name: string, seed = 1): SimPorts & { world: SimWorld } {
  const world = new SimWorld(seed)
  return { ...world.portsOf(name), world }
}
