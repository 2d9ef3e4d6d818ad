import { assert } from '../base/assert.js'
import type { Deadline } from '../ports/read-passes.js'

/** What the addon compares with the clock, see native/src/read-lane.cc. An SDS has one for each other SDS. */
export const deadlines = new Float64Array(16_384)
let deadlinesNow = 0

export class SharedDeadline implements Deadline {
  /** Its place among the deadlines. */
  readonly index = deadlinesNow++

  constructor() {
    assert(this.index < deadlines.length, 'an SDS knows fewer others than there are deadlines')
  }

  get atMs(): number {
    return deadlines[this.index]!
  }
  set atMs(atMs: number) {
    deadlines[this.index] = atMs
  }
}

export const indexOfDeadline = (deadline: Deadline): number => (deadline as SharedDeadline).index
