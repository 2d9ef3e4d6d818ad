import { assert } from '../base/assert.js'
import type { Tally } from '../ports/tally.js'

const talliesMax = 16_384
const numbersPerTally = 4
const underWay = 2

/** What the addon counts, see native/src/read-lane.cc and relay.cc; the first one is of everything. */
export const tallies = new Float64Array(talliesMax * numbersPerTally)
let talliesNow = 0
/** Places of tallies that were closed. */
const closed: number[] = []

export class SharedTally implements Tally {
  /** Its place among the tallies. */
  readonly index = takePlace()

  get ios(): number {
    return this.#number(0)
  }
  get bytes(): number {
    return this.#number(1)
  }
  get underWay(): number {
    return this.#number(underWay)
  }
  get returned(): number {
    return this.#number(3)
  }
  close(): void {
    closed.push(this.index)
  }
  #number(which: number): number {
    return tallies[this.index * numbersPerTally + which]!
  }
}

/** One that was closed and in which nothing is under way, from its beginning; or a new one. */
function takePlace(): number {
  const at = closed.findIndex(index => tallies[index * numbersPerTally + underWay] === 0)
  if (at < 0) {
    assert(talliesNow < talliesMax, 'a process has fewer devices open, or volumes mapped, than there are tallies')
    return talliesNow++
  }
  const [index] = closed.splice(at, 1) as [number]
  tallies.fill(0, index * numbersPerTally, (index + 1) * numbersPerTally)
  return index
}

export const totalTally = new SharedTally()
