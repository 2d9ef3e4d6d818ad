import { mkdir } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import { type Key, open as openLmdb, type RootDatabase } from 'lmdb'
import { assert } from '../base/assert.js'
import { StorageError } from '../base/errors.js'
import { GiB } from '../base/units.js'
import type { Disk, MetaKey, MetaStore, MetaStorePort, MetaWrite } from '../ports/index.js'
import { decode, encode } from '../wire/codec.js'
import { addon, addonErrorText, errnoName, isAddonError } from './addon.js'
import { systemClock } from './clock.js'
import { fileDisks } from './disk-port.js'
import { checkLmdbFiles } from './lmdb-file.js'

/** Address space for one store; room on the disk is taken as it fills. Holds tens of millions of entries. */
const mapBytes = 16 * GiB
/** Transactions whose sync has not ended: while one syncs, the next becomes visible. Each holds a thread of libuv. */
const transactionsMax = 2
/** A transaction is looked for in every turn for this long, then every millisecond. */
const eagerMs = 0.5
const unexplained = new Error('lmdb could not write its file: its file system may be full, or its disk fails')
/** Sorts before every key of the store's users. */
const counterKey: Key = [null as unknown as string]

/** lmdb, one environment a directory, held by one process through a lock on a file beside it. */
export const lmdbStores: MetaStorePort = {
  async open(directory) {
    try {
      await mkdir(directory, { recursive: true })
    } catch (cause) {
      const remedy = 'give this user a directory that it may write to'
      throw new StorageError('CONFIGURATION', { detail: 'the directory cannot be made', directory, remedy }, { cause })
    }
    const owner = await fileDisks.open(join(directory, 'owner'), { createBytes: 4096, direct: false })
    try {
      await mkdir(join(directory, 'data'), { recursive: true })
      await checkLmdbFiles(join(directory, 'data'))
      return new LmdbStore(directory, owner)
    } catch (cause) {
      await owner.close()
      if (cause instanceof StorageError) throw cause
      throw new StorageError('DEVICE_DAMAGED', { directory, lmdb: textOf(cause) }, { cause })
    }
  },
}

/** Writes that lmdb applies as one transaction. */
interface Transaction {
  number: number
  commits: Commit[]
  issuedAtMs: number
  state: 'issued' | 'visible' | 'settled'
}

interface Commit {
  writes: { key: MetaKey; bytes: Buffer | null }[]
  visible: (error: string | null) => void
}

/**
 * lmdb resolves a write when it is durable; it says nothing when it becomes visible, which is a whole sync earlier. So
 * each transaction carries a number, and a fresh read of that number tells. At most one transaction is not yet visible,
 * so that the number is never a later one's.
 */
class LmdbStore implements MetaStore {
  readonly #db: RootDatabase<Buffer, Key>
  #queue: Commit[] = []
  #issuing = false
  /** Not settled, in order. */
  readonly #transactions: Transaction[] = []
  readonly #flushes: { upTo: number; durable: (error: string | null) => void }[] = []
  #lastNumber: number
  #lastVisible: number
  /** A sync that failed: what it covered may be lost, and no later sync would tell. */
  #failure: string | null = null
  #lastFailed = false
  #closed: Promise<void> | null = null
  #idle: (() => void)[] = []

  constructor(
    readonly directory: string,
    readonly owner: Disk,
  ) {
    this.#db = openLmdb({
      path: join(directory, 'data'),
      noSubdir: false,
      encoding: 'binary',
      mapSize: mapBytes,
      overlappingSync: true,
      // Transactions are made here, whole; lmdb's own way of batching has promises that nobody can catch.
      eventTurnBatching: false,
    })
    this.#lastNumber = this.#readCounter()
    this.#lastVisible = this.#lastNumber
  }

  get(key: MetaKey): unknown {
    const bytes = this.#db.get(key as Key)
    return bytes && decode(bytes)
  }

  *range(prefix: MetaKey): Iterable<{ key: MetaKey; value: unknown }> {
    for (const { key, value } of this.#db.getRange(prefix.length > 0 ? { start: prefix as Key } : {})) {
      const parts = (Array.isArray(key) ? key : [key]) as readonly (number | string | null)[]
      if (parts[0] === null) continue
      if (!prefix.every((part, i) => part === parts[i])) return
      yield { key: parts as MetaKey, value: decode(value) }
    }
  }

  commit(writes: readonly MetaWrite[], visible: (error: string | null) => void): void {
    this.#checkOpen()
    const encoded = writes.map(write =>
      'put' in write ? { key: write.put, bytes: encode(write.value) } : { key: write.drop, bytes: null },
    )
    for (const { key } of encoded) checkKey(key)
    this.#queue.push({ writes: encoded, visible })
    this.#issueLater()
  }

  flush(durable: (error: string | null) => void): void {
    this.#checkOpen()
    this.#flushes.push({ upTo: this.#lastVisible, durable })
    if (this.#firstUnsettled() > this.#lastVisible) systemClock.endOfTurn(() => this.#answerFlushes())
  }

  async reserve(bytes: number): Promise<string | null> {
    try {
      await addon.fileAllocate(join(this.directory, 'data', 'data.mdb'), Math.min(bytes, mapBytes))
      return null
    } catch (error) {
      if (!isAddonError(error)) throw error
      return errnoName(error.errno) === 'EOPNOTSUPP' ? null : addonErrorText(error)
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    while (this.#queue.length > 0 || this.#transactions.length > 0 || this.#flushes.length > 0)
      await new Promise<void>(resolve => this.#idle.push(resolve))
    // Everything is durable or has failed. After a failure lmdb would wait for a sync that never comes.
    const closed = this.#db.close()
    if (!this.#lastFailed) await closed
    await this.owner.close()
  }

  #issueLater(): void {
    if (this.#issuing) return
    this.#issuing = true
    systemClock.endOfTurn(() => {
      this.#issuing = false
      this.#issue()
    })
  }

  /** Hands everything that waits to lmdb, as one transaction. */
  #issue(): void {
    const last = this.#transactions.at(-1)
    if (this.#queue.length === 0 || this.#transactions.length >= transactionsMax || last?.state === 'issued') return
    const commits = this.#queue
    this.#queue = []
    if (this.#failure !== null) {
      for (const commit of commits) commit.visible(this.#failure)
      return
    }
    const transaction: Transaction = {
      number: ++this.#lastNumber,
      commits,
      issuedAtMs: systemClock.nowMs(),
      state: 'issued',
    }
    this.#transactions.push(transaction)
    const write = () => {
      for (const { writes } of commits)
        for (const { key, bytes } of writes)
          if (bytes === null) this.#db.remove(key as Key)
          else this.#db.put(key as Key, bytes)
      this.#db.put(counterKey, encode(transaction.number))
    }
    this.#db.batch(write).then(
      () => this.#settled(transaction, null),
      error => this.#rejected(transaction, error),
    )
    this.#lookLater(transaction)
  }

  #lookLater(transaction: Transaction): void {
    const look = () => {
      if (transaction.state !== 'issued') return
      if (this.#sees(transaction)) this.#becameVisible(transaction)
      else this.#lookLater(transaction)
    }
    if (systemClock.nowMs() - transaction.issuedAtMs < eagerMs) setImmediate(look)
    else setTimeout(look, 1)
  }

  #sees(transaction: Transaction): boolean {
    this.#db.resetReadTxn()
    return this.#readCounter() >= transaction.number
  }

  #becameVisible(transaction: Transaction): void {
    transaction.state = 'visible'
    this.#lastVisible = transaction.number
    for (const commit of transaction.commits) commit.visible(null)
    this.#issue()
  }

  /**
   * What lmdb could not do. It keeps the reason in a promise of its own, which is settled in this turn; or never, where the
   * transaction failed before the sync of the one ahead of it had ended.
   */
  async #rejected(transaction: Transaction, error: Error & { commitError?: Promise<never> }): Promise<void> {
    const later = new Promise<Error>(resolve => setImmediate(resolve, unexplained))
    const reason = await Promise.race([error.commitError?.catch(cause => cause) ?? error, later])
    // A disk that fails, or room for a part of what was to be written: mdb_page_flush in lmdb's mdb.c says EIO for both.
    const isEither = (reason as { code?: unknown }).code === constants.errno.EIO
    this.#settled(transaction, textOf(isEither ? unexplained : reason))
  }

  #settled(transaction: Transaction, error: string | null): void {
    if (transaction.state === 'issued' && (error === null || this.#sees(transaction))) this.#becameVisible(transaction)
    this.#lastFailed = error !== null
    // Visible and yet not durable: the sync failed. Not even visible: nothing was done, and all goes on.
    if (error !== null && transaction.state === 'visible') this.#failure ??= error
    const failed = transaction.state === 'issued' ? transaction.commits : []
    transaction.state = 'settled'
    this.#transactions.splice(this.#transactions.indexOf(transaction), 1)
    for (const commit of failed) commit.visible(error)
    this.#answerFlushes()
    this.#issue()
    if (this.#transactions.length === 0 && this.#queue.length === 0) for (const idle of this.#idle.splice(0)) idle()
  }

  #answerFlushes(): void {
    const unsettled = this.#firstUnsettled()
    while (this.#flushes.length > 0 && this.#flushes[0]!.upTo < unsettled) this.#flushes.shift()!.durable(this.#failure)
    if (this.#flushes.length === 0) for (const idle of this.#idle.splice(0)) idle()
  }

  #firstUnsettled(): number {
    return this.#transactions[0]?.number ?? Number.POSITIVE_INFINITY
  }

  #readCounter(): number {
    const bytes = this.#db.get(counterKey)
    return bytes === undefined ? 0 : (decode(bytes) as number)
  }

  #checkOpen(): void {
    assert(this.#closed === null, 'a closed meta store is not used')
  }
}

function checkKey(key: MetaKey): void {
  let bytes = 0
  for (const part of key) {
    assert(typeof part === 'string' || Number.isFinite(part), 'a key is made of numbers and strings')
    bytes += typeof part === 'string' ? 3 * part.length + 1 : 10
  }
  assert(key.length > 0 && bytes < 1900, 'a key is not empty, nor longer than lmdb takes')
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
