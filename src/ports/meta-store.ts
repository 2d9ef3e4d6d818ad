/** Keys are arrays of numbers and strings in lmdb's order; values anything msgpack can write. */
export type MetaKey = readonly (number | string)[]
export type MetaValue = unknown

export type MetaWrite = { put: MetaKey; value: MetaValue } | { drop: MetaKey }

/**
 * A small ordered key-value store. A commit is *visible* (survives the process, and this boot) before it is *durable*
 * (survives power loss).
 */
export interface MetaStore {
  get(key: MetaKey): MetaValue | undefined
  /** Everything with the prefix, in key order. */
  range(prefix: MetaKey): Iterable<{ key: MetaKey; value: MetaValue }>
  /**
   * Applies all writes atomically, in the order of the calls. `visible` is called when they would survive the end of
   * this process; with an error's text if they could not be made, and then none was.
   */
  commit(writes: readonly MetaWrite[], visible: (error: string | null) => void): void
  /** `durable` is called when everything that was visible before this call would survive power loss. */
  flush(durable: (error: string | null) => void): void
  /**
   * Sets room aside, so that the store can grow to so many bytes though its file system is full. Null, or why there is
   * no such room; a file system that cannot promise any is no reason.
   */
  reserve(bytes: number): Promise<string | null>
  close(): Promise<void>
}

export interface MetaStorePort {
  /** Throws StorageError DEVICE_DAMAGED or DEVICE_BUSY. */
  open(directory: string): Promise<MetaStore>
}
