import { StorageError } from '../base/errors.js'
import {
  apply,
  emptyState,
  type LogEntry,
  type MdmState,
  restore,
  type Snapshot,
  snapshotOf,
} from '../core/mdm/index.js'
import type { MapDelta } from '../model/index.js'
import type { MetaStore, MetaStorePort, MetaWrite } from '../ports/index.js'

/** Shape of what is kept: `snapshot` (one), `log` + index (entries after the snapshot), `format`. */
const formatVersion = 1

/** What an MDM starts from. */
export interface Recovered {
  store: LogStore
  state: MdmState
  /** The deltas of the entries since the snapshot. */
  deltas: MapDelta[]
}

/** The log of commands on disk: an entry is in it durably before anybody hears of it. */
export class LogStore {
  #entriesSinceSnapshot = 0
  #firstIndex: number

  private constructor(
    readonly meta: MetaStore,
    firstIndex: number,
    entries: number,
  ) {
    this.#firstIndex = firstIndex
    this.#entriesSinceSnapshot = entries
  }

  /** Opens the directory and replays what is there. */
  static async open(metaStores: MetaStorePort, directory: string): Promise<Recovered> {
    const meta = await metaStores.open(directory)
    try {
      const format = meta.get(['format'])
      if (format !== undefined && format !== formatVersion)
        throw new StorageError('CONFIGURATION', {
          detail: 'the MDM directory was written by another version of this program',
          directory,
          format: Number(format),
          known: formatVersion,
          remedy: 'use the version that wrote it, or a newer one that upgrades it',
        })
      const snapshot = meta.get(['snapshot']) as Snapshot | undefined
      const state = snapshot ? restore(snapshot) : emptyState()
      const firstIndex = state.map.version + 1
      const deltas: MapDelta[] = []
      for (const { key, value } of meta.range(['log'])) {
        const index = Number(key[1])
        // Entries that the snapshot holds already: it was written before they were dropped.
        if (index < firstIndex) continue
        if (index !== state.map.version + 1)
          throw new StorageError('DEVICE_DAMAGED', {
            detail: 'the MDM’s log has a hole',
            directory,
            want: state.map.version + 1,
            have: index,
            remedy: 'restore the directory from a backup',
          })
        deltas.push(apply(state, index, value as LogEntry).delta)
      }
      return { store: new LogStore(meta, firstIndex, deltas.length), state, deltas }
    } catch (error) {
      await meta.close()
      throw error
    }
  }

  get entriesSinceSnapshot(): number {
    return this.#entriesSinceSnapshot
  }

  /** Resolves when the entry is durable. Rejects if it is not in the log; throws where that cannot be known. */
  append(index: number, entry: LogEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      const writes: MetaWrite[] = [{ put: ['log', index], value: entry }]
      if (index === 1) writes.push({ put: ['format'], value: formatVersion })
      this.meta.commit(writes, error => {
        if (error !== null) {
          const detail = 'the MDM could not write its log; nothing was changed'
          return reject(new StorageError('INTERNAL', { detail, error, remedy: 'look at the MDM’s disk' }))
        }
        this.meta.flush(flushError => {
          // The entry may or may not survive: only a new start, which reads what is there, can tell.
          if (flushError !== null)
            throw new StorageError('MEDIA_ERROR', { detail: 'the MDM’s log cannot be synced', flushError })
          this.#entriesSinceSnapshot++
          resolve()
        })
      })
    })
  }

  /** Replaces the log so far by the state that it made. What fails here is tried again later: the log is still whole. */
  saveSnapshot(state: MdmState, done: (error: string | null) => void): void {
    const lastIndex = state.map.version
    const writes: MetaWrite[] = [{ put: ['snapshot'], value: snapshotOf(state) }]
    for (let index = this.#firstIndex; index <= lastIndex; index++) writes.push({ drop: ['log', index] })
    this.#entriesSinceSnapshot = 0
    const firstIndex = this.#firstIndex
    this.#firstIndex = lastIndex + 1
    this.meta.commit(writes, error => {
      if (error !== null) {
        this.#firstIndex = firstIndex
        return done(error)
      }
      this.meta.flush(done)
    })
  }

  close(): Promise<void> {
    return this.meta.close()
  }
}
