import { assert } from '../../src/base/assert.js'
import type { Clock, Timer } from '../../src/ports/clock.js'

interface Due {
  atMs: number
  order: number
  fire: (() => void) | null
}

/**
 * Virtual time. Nothing happens until the test runs the clock; then whatever is due at one moment is a turn: each event
 * is fired, its promise jobs run to the end, and last of all what asked for `endOfTurn`. Same calls, same order, always.
 */
export class SimClock implements Clock {
  #nowMs = 0
  #order = 0
  #heap: Due[] = []
  #endOfTurn: (() => void)[] = []
  #running = false

  nowMs(): number {
    return this.#nowMs
  }

  setTimer(delayMs: number, fire: () => void): Timer {
    const due: Due = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, fire }
    push(this.#heap, due)
    return {
      cancel() {
        due.fire = null
      },
    }
  }

  endOfTurn(fire: () => void): void {
    this.#endOfTurn.push(fire)
  }

  /** A clock whose timers die with its process. */
  forProcess(): ProcessClock {
    return new ProcessClock(this)
  }

  /** Lets `ms` of virtual time pass. */
  async runFor(ms: number): Promise<void> {
    await this.#run(this.#nowMs + ms, () => false)
  }

  /** Runs until `predicate` holds; throws if it does not within `withinMs` of virtual time. */
  async runUntil(predicate: () => boolean, { withinMs = 60_000, what = '' } = {}): Promise<void> {
    if (await this.#run(this.#nowMs + withinMs, predicate)) return
    throw new Error(`not within ${withinMs} ms of virtual time: ${what || predicate.toString()}`)
  }

  /** Runs until `promise` settles and returns or throws what it does. */
  async finish<T>(promise: Promise<T>, { withinMs = 60_000, what = 'the promise settles' } = {}): Promise<T> {
    let settled = false
    const settle = () => {
      settled = true
    }
    promise.then(settle, settle)
    await this.runUntil(() => settled, { withinMs, what })
    return promise
  }

  /** Runs until nothing is scheduled any more; throws after `withinMs`, as daemons with periodic timers never idle. */
  async runIdle({ withinMs = 60_000 } = {}): Promise<void> {
    await this.runUntil(() => this.#next() === undefined && this.#endOfTurn.length === 0, { withinMs, what: 'idle' })
  }

  async #run(untilMs: number, stop: () => boolean): Promise<boolean> {
    assert(!this.#running, 'one run of the clock at a time')
    this.#running = true
    try {
      await promiseJobs()
      await this.#runEndOfTurn()
      while (!stop()) {
        const next = this.#next()
        if (next === undefined || next.atMs > untilMs) {
          this.#nowMs = untilMs
          return stop()
        }
        await this.#turn(next.atMs)
      }
      return true
    } finally {
      this.#running = false
    }
  }

  /** Everything that is due at `atMs` by now; what these events schedule for the same moment is the next turn. */
  async #turn(atMs: number): Promise<void> {
    this.#nowMs = atMs
    const orderEnd = this.#order
    for (let next = this.#next(); next?.atMs === atMs && next.order < orderEnd; next = this.#next()) {
      pop(this.#heap)
      next.fire?.()
      await promiseJobs()
    }
    await this.#runEndOfTurn()
  }

  async #runEndOfTurn(): Promise<void> {
    for (let rounds = 0; this.#endOfTurn.length > 0; rounds++) {
      assert(rounds < 10_000, 'the end of a turn comes')
      const fires = this.#endOfTurn
      this.#endOfTurn = []
      for (const fire of fires) fire()
      await promiseJobs()
    }
  }

  #next(): Due | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.fire === null) pop(this.#heap)
    return this.#heap[0]
  }
}

/** One process's view of a clock: after `kill` nothing that it scheduled happens. */
export class ProcessClock implements Clock {
  #alive = true
  constructor(readonly world: SimClock) {}

  nowMs(): number {
    return this.world.nowMs()
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    return this.world.setTimer(delayMs, () => this.#alive && fire())
  }
  endOfTurn(fire: () => void): void {
    this.world.endOfTurn(() => this.#alive && fire())
  }
  kill(): void {
    this.#alive = false
  }
}

/** All promise jobs and next ticks run before the check phase comes round. */
const promiseJobs = () => new Promise<void>(resolve => setImmediate(resolve))

const before = (a: Due, b: Due) => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

function push(heap: Due[], due: Due): void {
  let at = heap.push(due) - 1
  while (at > 0) {
    const parent = (at - 1) >> 1
    if (!before(due, heap[parent]!)) break
    heap[at] = heap[parent]!
    at = parent
  }
  heap[at] = due
}

function pop(heap: Due[]): void {
  const last = heap.pop()!
  if (heap.length === 0) return
  let at = 0
  for (;;) {
    let child = 2 * at + 1
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
    if (child >= heap.length || !before(heap[child]!, last)) break
    heap[at] = heap[child]!
    at = child
  }
  heap[at] = last
}
