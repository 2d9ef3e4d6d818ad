import type { Random } from '../../src/ports/random.js'
import { mdmNamesOf, type SoakCluster, sdcName, sdsNames } from './cluster.js'
import { failWrites, type SmallFileSystem } from './disks.js'

/** What a fault needs of the host, or of the version of Blockmesh that is tested. */
export type Capability = 'links' | 'file systems' | 'device failures'

/**
 * Whether a device that fails is given up by its slices, so that I/O goes on without it and the system is whole again
 * once it works. Without that, requests to it wait or fail, and such faults are left out.
 */
export const handlesDeviceFailures = true

export interface FaultWorld {
  cluster: SoakCluster
  random: Random
  /** Of the second device of each SDS, by SDS. */
  fileSystems: Map<string, SmallFileSystem>
}

/** A fault that has been drawn: what it does to whom for how long. */
export interface FaultPlan {
  /** Names of the processes that it touches: each suffers from one fault at a time. */
  victims: string[]
  durationMs: number
  what: string
  /** Does it; returns what undoes it. */
  begin(): Promise<() => Promise<void>>
}

export interface FaultKind {
  name: string
  /** How often, in comparison with the others. */
  weight: number
  needs?: readonly Capability[]
  /**
   * Begins only while everything has two copies: where the other copy is away, the last one has no choice but to answer
   * with an error. No SDS is then hit by anything else.
   */
  needsHealth?: boolean
  draw(world: FaultWorld): FaultPlan
}

/** Whom a fault has hit is left alone for so long: a client or an MDM that is always away proves nothing. */
export const restMs = new Map([[sdcName, 8000], ...mdmNamesOf(5).map((name): [string, number] => [name, 4000])])

/** Everything that goes wrong here, and how it is put right. */
export const faultKinds: readonly FaultKind[] = [
  { name: 'kill SDS', weight: 12, draw: world => killed(world, [oneOf(world, sdsNames)]) },
  { name: 'kill MDM', weight: 4, draw: world => killed(world, minorityOf(world)) },
  { name: 'kill SDC', weight: 4, draw: world => killed(world, [sdcName]) },
  { name: 'kill two SDSs', weight: 2, draw: world => killed(world, someOf(world, sdsNames, 2)) },
  { name: 'kill all', weight: 1, draw: world => killed(world, [sdcName, ...sdsNames, ...world.cluster.mdmNames]) },
  { name: 'terminate SDS', weight: 6, draw: world => terminated(world, oneOf(world, sdsNames)) },
  { name: 'terminate MDM', weight: 2, draw: world => terminated(world, oneOf(world, world.cluster.mdmNames)) },
  { name: 'stop MDM', weight: 4, draw: world => stopped(world, minorityOf(world)) },
  { name: 'terminate SDC', weight: 2, draw: world => terminated(world, sdcName) },
  { name: 'stop', weight: 10, draw: world => stopped(world, [oneOf(world, [...sdsNames, sdcName])]) },
  { name: 'cut off', weight: 5, needs: ['links'], draw: world => cut(world, oneOf(world, daemonsOf(world)), null) },
  { name: 'cut link', weight: 6, needs: ['links'], draw: world => cutPair(world, false) },
  { name: 'cut one way', weight: 5, needs: ['links'], draw: world => cutPair(world, true) },
  { name: 'disk full', weight: 4, needs: ['file systems', 'device failures'], needsHealth: true, draw: diskFull },
  { name: 'disk errors', weight: 4, needs: ['device failures'], needsHealth: true, draw: diskErrors },
]

function killed({ cluster, random }: FaultWorld, victims: string[]): FaultPlan {
  return {
    victims,
    durationMs: random.integer(4000),
    what: `SIGKILL ${victims.join(', ')}`,
    async begin() {
      await Promise.all(victims.map(name => cluster.endProcess(name, 'SIGKILL')))
      return async () => {
        for (const name of [...victims].reverse()) cluster.startProcess(name)
      }
    },
  }
}

function terminated({ cluster, random }: FaultWorld, name: string): FaultPlan {
  return {
    victims: [name],
    durationMs: random.integer(3000),
    what: `SIGTERM ${name}`,
    async begin() {
      await cluster.endProcess(name, 'SIGTERM')
      return async () => cluster.startProcess(name)
    },
  }
}

function stopped({ cluster, random }: FaultWorld, victims: string[]): FaultPlan {
  return {
    victims,
    // Mostly short ones: a process that is given up after a second is to be met on both sides of that.
    durationMs: 1000 + (random.integer(3) === 0 ? random.integer(19_000) : random.integer(3000)),
    what: `SIGSTOP ${victims.join(', ')}`,
    async begin() {
      for (const name of victims) cluster.signal(name, 'SIGSTOP')
      return async () => {
        for (const name of victims) cluster.signal(name, 'SIGCONT')
      }
    },
  }
}

function cutPair(world: FaultWorld, isOneWay: boolean): FaultPlan {
  const [from, to] = someOf(world, [...sdsNames, ...sdsNames, ...world.cluster.mdmNames, sdcName], 2)
  return cut(world, from!, to!, isOneWay)
}

function cut({ cluster, random }: FaultWorld, from: string, to: string | null, isOneWay = false): FaultPlan {
  return {
    victims: to === null ? [from] : [from, to],
    durationMs: 500 + (random.integer(3) === 0 ? random.integer(15_000) : random.integer(4000)),
    what: to === null ? `${from} cut off` : `${from} ${isOneWay ? 'no longer reaches' : 'and'} ${to} cut`,
    begin: () => cluster.network!.cut({ from, to, isOneWay }),
  }
}

function diskFull(world: FaultWorld): FaultPlan {
  const { random, fileSystems } = world
  const name = oneOf(world, [...fileSystems.keys()])
  return {
    victims: [...sdsNames],
    durationMs: 2000 + random.integer(8000),
    what: `file system of a device of ${name} full`,
    async begin() {
      const giveBack = await fileSystems.get(name)!.fill()
      return async () => giveBack()
    },
  }
}

function diskErrors(world: FaultWorld): FaultPlan {
  const { cluster, random } = world
  const name = oneOf(world, sdsNames)
  return {
    victims: [...sdsNames],
    durationMs: 2000 + random.integer(8000),
    what: `writes of ${name} fail`,
    async begin() {
      await failWrites(cluster.pidOf(name))
      return async () => {
        // The limit goes with the process.
        await cluster.endProcess(name, 'SIGKILL')
        cluster.startProcess(name)
      }
    },
  }
}

const daemonsOf = ({ cluster }: FaultWorld): string[] => [...cluster.mdmNames, ...sdsNames]

/** As many MDMs as their cluster must do without; a single one is away altogether. */
function minorityOf(world: FaultWorld): string[] {
  const { mdmNames } = world.cluster
  const countMax = Math.max(1, (mdmNames.length - 1) / 2)
  return someOf(world, mdmNames, 1 + world.random.integer(countMax))
}

const oneOf = ({ random }: FaultWorld, names: readonly string[]): string => names[random.integer(names.length)]!

function someOf({ random }: FaultWorld, names: readonly string[], count: number): string[] {
  const chosen = new Set<string>()
  while (chosen.size < count) chosen.add(names[random.integer(names.length)]!)
  return [...chosen]
}
