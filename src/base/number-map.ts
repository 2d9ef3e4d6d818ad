/**
 * A map from safe integers to objects, for what comes and goes with each request. A `Map` of few entries makes itself a new
 * table every few insertions, and the old one keeps pointing at the new one and at all that was in it: once an old table
 * has been promoted to V8's old generation, every later one, with the requests that have long ended, survives until the
 * next full collection. This one is in place: it makes a new table only to hold more than ever before.
 */
export class NumberMap<Value extends object> {
  /** Open addressing, linear probing; at most half of the places are taken. */
  #keys = new Float64Array(placesMin)
  #values: (Value | null)[] = new Array<Value | null>(placesMin).fill(null)
  #size = 0

  get size(): number {
    return this.#size
  }

  get(key: number): Value | undefined {
    return this.#values[this.#placeOf(key)] ?? undefined
  }

  set(key: number, value: Value): void {
    let place = this.#placeOf(key)
    if (this.#values[place] === null) {
      if (2 * (this.#size + 1) > this.#values.length) {
        this.#grow()
        place = this.#placeOf(key)
      }
      this.#size++
      this.#keys[place] = key
    }
    this.#values[place] = value
  }

  /** True if there was one. */
  delete(key: number): boolean {
    const mask = this.#values.length - 1
    let hole = this.#placeOf(key)
    if (this.#values[hole] === null) return false
    this.#size--
    // Whoever stands behind the hole, and would not be found past it, moves into it.
    for (let at = (hole + 1) & mask; this.#values[at] !== null; at = (at + 1) & mask) {
      const home = hash(this.#keys[at]!) & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      this.#keys[hole] = this.#keys[at]!
      this.#values[hole] = this.#values[at]!
      hole = at
    }
    this.#values[hole] = null
    return true
  }

  clear(): void {
    this.#values.fill(null)
    this.#size = 0
  }

  /** As they are now, in no order. */
  values(): Value[] {
    return this.#values.filter(value => value !== null)
  }

  /** Where the key is, or would go. */
  #placeOf(key: number): number {
    const mask = this.#values.length - 1
    let place = hash(key) & mask
    while (this.#values[place] !== null && this.#keys[place] !== key) place = (place + 1) & mask
    return place
  }

  #grow(): void {
    const keys = this.#keys
    const values = this.#values
    this.#keys = new Float64Array(2 * keys.length)
    this.#values = new Array<Value | null>(2 * values.length).fill(null)
    for (let at = 0; at < values.length; at++) {
      if (values[at] === null) continue
      const place = this.#placeOf(keys[at]!)
      this.#keys[place] = keys[at]!
      this.#values[place] = values[at]!
    }
  }
}

const placesMin = 32

/** Neighbours, as numbers of requests and chunks are, go to places far apart. */
function hash(key: number): number {
  const mixed = Math.imul((key | 0) ^ Math.imul(Math.floor(key / 2 ** 32), 0x85ebca6b), 0x9e3779b1)
  return (mixed ^ (mixed >>> 15)) >>> 0
}
