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
  #afterJobs: (() => void)[] = []

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

  /** Calls `fire` as soon as the promise jobs of the present event have run, before anything else happens. */
  afterJobs(fire: () => void): void {
    this.#afterJobs.push(fire)
  }

  /** A clock whose timers die with its process. */
  forProcess(rate = 1, onStallEnd: () => void = () => {}): ProcessClock {
    return new ProcessClock(this, rate, onStallEnd)
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

  /** All turns up to then, in callbacks of the event loop: only there can promise jobs be made to run. */
  #run(untilMs: number, stop: () => boolean): Promise<boolean> {
    assert(!this.#running, 'one run of the clock at a time')
    this.#running = true
    return new Promise((resolve, reject) => {
      const some = () => {
        try {
          const isDone = this.#someTurns(untilMs, stop)
          if (isDone === null) {
            setImmediate(some)
            return
          }
          this.#running = false
          resolve(isDone)
        } catch (error) {
          this.#running = false
          reject(error)
        }
      }
      setImmediate(some)
    })
  }

  /** Whether it was stopped before `untilMs`; null: there is more to do. */
  #someTurns(untilMs: number, stop: () => boolean): boolean | null {
    this.#runEndOfTurn()
    for (let turns = 0; turns < turnsAtOnce; turns++) {
      if (stop()) return true
      const next = this.#next()
      if (next === undefined || next.atMs > untilMs) {
        this.#nowMs = untilMs
        return stop()
      }
      this.#turn(next.atMs)
    }
    return null
  }

  /** Everything that is due at `atMs` by now; what these events schedule for the same moment is the next turn. */
  #turn(atMs: number): void {
    this.#nowMs = atMs
    const orderEnd = this.#order
    for (let next = this.#next(); next?.atMs === atMs && next.order < orderEnd; next = this.#next()) {
      pop(this.#heap)
      next.fire?.()
      this.#jobs()
    }
    this.#runEndOfTurn()
  }

  #runEndOfTurn(): void {
    for (let rounds = 0; this.#endOfTurn.length > 0; rounds++) {
      assert(rounds < 10_000, 'the end of a turn comes')
      const fires = this.#endOfTurn
      this.#endOfTurn = []
      for (const fire of fires) fire()
      this.#jobs()
    }
  }

  #jobs(): void {
    runPromiseJobs()
    while (this.#afterJobs.length > 0) {
      for (const fire of this.#afterJobs.splice(0)) fire()
      runPromiseJobs()
    }
  }

  #next(): Due | undefined {
    while (this.#heap.length > 0 && this.#heap[0]!.fire === null) pop(this.#heap)
    return this.#heap[0]
  }
}

/**
 * One process's view of a clock: after `kill` nothing of it happens, during a stall nothing happens until its end. Its
 * crystal may be off: `rate` of its milliseconds pass in one of the world's.
 */
export class ProcessClock implements Clock {
  #alive = true
  #stalledUntilMs = 0
  #held: (() => void)[] = []
  /** Called after each event of this process: where a simulator counts, and strikes by `afterJobs`. */
  onEvent: (() => void) | null = null

  constructor(
    readonly world: SimClock,
    readonly rate = 1,
    readonly onStallEnd: () => void = () => {},
  ) {}

  get isAlive(): boolean {
    return this.#alive
  }
  /** True while the process does not run, although it lives. */
  get isStalled(): boolean {
    return this.#alive && this.#stalledUntilMs > this.world.nowMs()
  }

  nowMs(): number {
    return this.world.nowMs() * this.rate
  }
  setTimer(delayMs: number, fire: () => void): Timer {
    let isCancelled = false
    const timer = this.world.setTimer(delayMs / this.rate, () => this.deliver(() => !isCancelled && fire()))
    return {
      cancel() {
        isCancelled = true
        timer.cancel()
      },
    }
  }
  endOfTurn(fire: () => void): void {
    this.world.endOfTurn(() => this.deliver(fire))
  }

  /** Something reaches the process: now, at the end of its stall, or never. */
  deliver(event: () => void): void {
    if (!this.#alive) return
    if (this.#stalledUntilMs > this.world.nowMs()) {
      this.#held.push(event)
      return
    }
    event()
    this.onEvent?.()
  }

  /** The process does not run for `ms` of the world's time; what reaches it meanwhile waits, in order. */
  stall(ms: number): void {
    const wasStalled = this.isStalled
    this.#stalledUntilMs = Math.max(this.#stalledUntilMs, this.world.nowMs() + ms)
    if (!wasStalled) this.#wakeLater()
  }

  kill(): void {
    this.#alive = false
    this.#held = []
  }

  #wakeLater(): void {
    this.world.setTimer(this.#stalledUntilMs - this.world.nowMs(), () => {
      if (!this.#alive) return
      if (this.isStalled) {
        this.#wakeLater()
        return
      }
      const held = this.#held
      this.#held = []
      for (const event of held) this.world.setTimer(0, () => this.deliver(event))
      this.onStallEnd()
    })
  }
}

/** After so many the real event loop comes round: whoever waits for its timers and files is served. */
const turnsAtOnce = 1_000

/**
 * Runs all promise jobs and next ticks, as the event loop does after each of its callbacks. A round of the loop for each
 * event would do the same, documented, and take a third of a run's time.
 * Source: `process._tickCallback` in Node's lib/internal/bootstrap/node.js.
 */
const { _tickCallback: runPromiseJobs } = process as unknown as { _tickCallback: () => void }

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
