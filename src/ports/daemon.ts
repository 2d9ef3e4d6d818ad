import type { Clock } from './clock.js'
import type { DiskPort } from './disk.js'
import type { KernelNbd } from './kernel-nbd.js'
import type { Link } from './link.js'
import type { Log } from './log.js'
import type { MetaStorePort } from './meta-store.js'
import type { Random } from './random.js'
import type { ReadPasses } from './read-passes.js'
import type { Relay } from './relay.js'
import type { WritePasses } from './write-passes.js'

/** What a daemon stands on: the real ones in a process, simulated ones in a test. */
export interface Ports {
  clock: Clock
  random: Random
  link: Link
  disks: DiskPort
  metaStores: MetaStorePort
  kernelNbd: KernelNbd
  readPasses: ReadPasses
  writePasses: WritePasses
  relay: Relay
  log: Log
  /** /proc/sys/kernel/random/boot_id: names this boot of the host. */
  bootId: string
}

/** A running daemon. */
export interface Daemon {
  /** One value per name, now, for the metrics page: `blockmesh_sds_reads_total` … */
  metrics(): MetricSample[]
  /** Refuses new work, finishes what is under way, syncs, lets go. May be called twice. */
  stop(): Promise<void>
  /** Resolves with the reason once the daemon cannot go on (its system refuses it …): the process ends with that error. */
  readonly failed?: Promise<Error>
}

export interface MetricSample {
  name: string
  help: string
  kind: 'counter' | 'gauge'
  labels?: Record<string, string>
  value: number
}
