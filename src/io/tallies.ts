import { assert } from '../base/assert.js'
import type { ReadTally } from '../ports/read-passes.js'

const talliesMax = 16_384
const numbersPerTally = 4

/** What the addon counts, see native/src/read-lane.cc and read-relay.cc; the first one is of everything. */
export const tallies = new Float64Array(talliesMax * numbersPerTally)
let talliesNow = 0

export class SharedTally implements ReadTally {
  /** Its place among the tallies. */
  readonly index: number

  constructor() {
    assert(talliesNow < talliesMax, 'a process opens fewer devices, or maps fewer volumes, than there are tallies')
    this.index = talliesNow++
  }
  get reads(): number {
    return this.#number(0)
  }
  get readBytes(): number {
    return this.#number(1)
  }
  get readingNow(): number {
    return this.#number(2)
  }
  get returned(): number {
    return this.#number(3)
  }
  #number(which: number): number {
    return tallies[this.index * numbersPerTally + which]!
  }
}

export const totalTally = new SharedTally()
