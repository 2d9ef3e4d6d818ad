import { StorageError } from '../../src/base/errors.js'
import type { Clock } from '../../src/ports/clock.js'
import type { MetaKey, MetaStore, MetaStorePort, MetaWrite } from '../../src/ports/meta-store.js'
import type { Random } from '../../src/ports/random.js'
import { decode, encode } from '../../src/wire/codec.js'
import { SortedTable, startsWith } from './sorted-table.js'

type Stored = { put: MetaKey; bytes: Buffer } | { drop: MetaKey }

/** What is on the disk under one directory. */
interface Environment {
  durable: SortedTable
  visible: SortedTable
  /** Visible but not durable, in commit order. */
  unsynced: Stored[][]
  open: MemoryMetaStore | null
  failure: string | null
}

/** Meta stores of one host, in memory, with commits that are visible before they are durable. */
export class MemoryMetaStores implements MetaStorePort {
  readonly #environments = new Map<string, Environment>()
  commitDelayMs = 0.1
  flushDelayMs = 2
  /** What can be set aside for one store. */
  roomBytes = Number.POSITIVE_INFINITY
  /** Hands completions to the process that waits for them. */
  deliver: (event: () => void) => void = event => event()

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  async open(directory: string): Promise<MetaStore> {
    let environment = this.#environments.get(directory)
    if (environment === undefined) {
      environment = { durable: new SortedTable(), visible: new SortedTable(), unsynced: [], open: null, failure: null }
      this.#environments.set(directory, environment)
    }
    if (environment.open) throw new StorageError('DEVICE_BUSY', { directory })
    environment.open = new MemoryMetaStore(this, environment)
    return environment.open
  }

  /** All further commits and flushes under `directory` fail with this text; null ends it. */
  fail(directory: string, error: string | null): void {
    this.#environments.get(directory)!.failure = error
  }

  /** What is visible under `directory` now, for checkers. */
  peek(directory: string, prefix: MetaKey): { key: MetaKey; value: unknown }[] {
    const entries = this.#environments.get(directory)?.visible.from(prefix) ?? []
    return entries.filter(({ key }) => startsWith(key, prefix)).map(({ key, bytes }) => ({ key, value: decode(bytes) }))
  }

  /** Commits that a power loss now could take back. */
  get unsyncedCount(): number {
    let count = 0
    for (const { unsynced } of this.#environments.values()) count += unsynced.length
    return count
  }

  /** The process ends: what is visible stays; of what was still under way, any prefix may have become visible. */
  crashProcess(): void {
    for (const environment of this.#environments.values()) environment.open?.crash()
  }

  /** The host loses power: what was not durable goes, except for any prefix in commit order. */
  powerLoss(): void {
    this.crashProcess()
    for (const environment of this.#environments.values()) {
      const kept = this.random.integer(environment.unsynced.length + 1)
      for (const writes of environment.unsynced.slice(0, kept)) apply(environment.durable, writes)
      environment.unsynced = []
      environment.visible = environment.durable.clone()
    }
  }
}

export const memoryMetaStores = ({ clock, random }: { clock: Clock; random: Random }) =>
  new MemoryMetaStores(clock, random)

class MemoryMetaStore implements MetaStore {
  #pending: { writes: Stored[]; visible: (error: string | null) => void }[] = []
  #state: 'open' | 'closed' = 'open'
  #idle: (() => void)[] = []
  #underWay = 0

  constructor(
    readonly port: MemoryMetaStores,
    readonly environment: Environment,
  ) {}

  get(key: MetaKey): unknown {
    const bytes = this.environment.visible.get(key)
    return bytes && decode(bytes)
  }

  *range(prefix: MetaKey): Iterable<{ key: MetaKey; value: unknown }> {
    for (const { key, bytes } of this.environment.visible.from(prefix)) {
      if (!startsWith(key, prefix)) return
      yield { key, value: decode(bytes) }
    }
  }

  commit(writes: readonly MetaWrite[], visible: (error: string | null) => void): void {
    this.#checkOpen()
    const stored = writes.map(write => ('put' in write ? { put: write.put, bytes: encode(write.value) } : write))
    this.#pending.push({ writes: stored, visible })
    this.#after(this.port.commitDelayMs, () => {
      const commit = this.#pending.shift()!
      const { failure } = this.environment
      if (failure === null) this.#makeVisible(commit.writes)
      return () => commit.visible(failure)
    })
  }

  flush(durable: (error: string | null) => void): void {
    this.#checkOpen()
    const coveredCount = this.environment.unsynced.length
    const covered = this.environment.unsynced.slice(0, coveredCount)
    this.#after(this.port.flushDelayMs, () => {
      const { failure } = this.environment
      if (failure === null) this.#makeDurable(covered)
      return () => durable(failure)
    })
  }

  async reserve(bytes: number): Promise<string | null> {
    this.#checkOpen()
    return bytes > this.port.roomBytes ? 'fallocate: ENOSPC' : null
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    if (this.#underWay > 0) await new Promise<void>(resolve => this.#idle.push(resolve))
    if (this.environment.open === this) this.environment.open = null
  }

  crash(): void {
    const landed = this.port.random.integer(this.#pending.length + 1)
    for (const { writes } of this.#pending.slice(0, landed)) this.#makeVisible(writes)
    this.#pending = []
    this.#state = 'closed'
    this.environment.open = null
  }

  #makeVisible(writes: Stored[]): void {
    apply(this.environment.visible, writes)
    this.environment.unsynced.push(writes)
  }

  #makeDurable(covered: Stored[][]): void {
    for (const writes of covered) {
      // An earlier flush that took longer may have got there first.
      if (this.environment.unsynced[0] !== writes) continue
      apply(this.environment.durable, writes)
      this.environment.unsynced.shift()
    }
  }

  /** `act` does it and returns what the process is told. */
  #after(delayMs: number, act: () => () => void): void {
    this.#underWay++
    this.port.clock.setTimer(delayMs, () => {
      if (this.environment.open !== this) return
      const done = act()
      this.port.deliver(() => {
        this.#underWay--
        done()
        if (this.#underWay === 0) for (const idle of this.#idle.splice(0)) idle()
      })
    })
  }

  #checkOpen(): void {
    if (this.#state === 'closed') throw new Error('the meta store is closed')
  }
}

function apply(table: SortedTable, writes: readonly Stored[]): void {
  for (const write of writes) {
    if ('put' in write) table.put(write.put, write.bytes)
    else table.drop(write.drop)
  }
}
