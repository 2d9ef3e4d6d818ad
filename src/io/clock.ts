import type { Clock, Timer } from '../ports/clock.js'
import { addon } from './addon.js'

/** Ends of turns that ask for another one join it, this often; after that the loop goes round once. */
const roundsMax = 8

let due: (() => void)[] = []
/** The end of this turn is certain to come, or has begun: nobody has to ask Node for it. */
let isEnding = false

/** From here to `runEndOfTurn`, which is to be called in any case, the end of the turn need not be asked for. */
export function beginTurn(): void {
  isEnding = true
}

/** Runs what was asked for; what that asks for joins in. */
export function runEndOfTurn(): void {
  isEnding = true
  try {
    for (let rounds = 0; due.length > 0 && rounds < roundsMax; rounds++) {
      const fires = due
      due = []
      for (let i = 0; i < fires.length; i++) {
        try {
          fires[i]!()
        } catch (error) {
          // What is left is not lost, should somebody survive this.
          due = [...fires.slice(i + 1), ...due]
          throw error
        }
      }
    }
  } finally {
    isEnding = false
    if (due.length > 0) setImmediate(runEndOfTurn)
  }
}

class SystemTimer implements Timer {
  #timeout: NodeJS.Timeout | null
  constructor(
    readonly dueMs: number,
    readonly fire: () => void,
  ) {
    this.#timeout = setTimeout(() => this.#ring(), Math.max(0, Math.ceil(dueMs - addon.bootTimeMs())))
  }
  cancel(): void {
    if (this.#timeout !== null) clearTimeout(this.#timeout)
    this.#timeout = null
  }
  /** Node counts whole milliseconds on another clock: what rings early waits for the rest. */
  #ring(): void {
    const leftMs = this.dueMs - addon.bootTimeMs()
    if (leftMs > 0) {
      this.#timeout = setTimeout(() => this.#ring(), Math.ceil(leftMs))
      return
    }
    this.#timeout = null
    this.fire()
  }
}

/** CLOCK_BOOTTIME, which goes on while the host sleeps, as leases must. */
export const systemClock: Clock = {
  nowMs: () => addon.bootTimeMs(),
  setTimer: (delayMs, fire) => new SystemTimer(addon.bootTimeMs() + delayMs, fire),
  endOfTurn(fire) {
    // The check phase comes after every socket of this turn has been read.
    if (due.push(fire) === 1 && !isEnding) setImmediate(runEndOfTurn)
  },
}
