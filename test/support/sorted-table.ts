import type { MetaKey } from '../../src/ports/meta-store.js'

interface Entry {
  key: MetaKey
  bytes: Buffer
}

/** lmdb's order: part by part, numbers before strings, a prefix before what it begins. */
export function compareKeys(a: MetaKey, b: MetaKey): number {
  const shared = Math.min(a.length, b.length)
  for (let i = 0; i < shared; i++) {
    const order = compareParts(a[i]!, b[i]!)
    if (order !== 0) return order
  }
  return a.length - b.length
}

function compareParts(a: number | string, b: number | string): number {
  if (typeof a === 'number') return typeof b === 'number' ? a - b : -1
  return typeof b === 'number' ? 1 : Buffer.compare(Buffer.from(a), Buffer.from(b))
}

export const startsWith = (key: MetaKey, prefix: MetaKey): boolean =>
  key.length >= prefix.length && prefix.every((part, i) => part === key[i])

/** Entries in key order: an array and binary search do for a test's sizes. */
export class SortedTable {
  #entries: Entry[] = []

  get(key: MetaKey): Buffer | undefined {
    const entry = this.#entries[this.#indexOf(key)]
    return entry && compareKeys(entry.key, key) === 0 ? entry.bytes : undefined
  }

  put(key: MetaKey, bytes: Buffer): void {
    const at = this.#indexOf(key)
    const there = this.#entries[at]
    const replaced = there !== undefined && compareKeys(there.key, key) === 0
    this.#entries.splice(at, replaced ? 1 : 0, { key, bytes })
  }

  drop(key: MetaKey): void {
    if (this.get(key) !== undefined) this.#entries.splice(this.#indexOf(key), 1)
  }

  /** Entries from `key` on, as they are now: later changes are not seen. */
  from(key: MetaKey): Entry[] {
    return this.#entries.slice(this.#indexOf(key))
  }

  clone(): SortedTable {
    const table = new SortedTable()
    table.#entries = this.#entries.slice()
    return table
  }

  /** The first entry that is not before `key`. */
  #indexOf(key: MetaKey): number {
    let low = 0
    let high = this.#entries.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (compareKeys(this.#entries[middle]!.key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
