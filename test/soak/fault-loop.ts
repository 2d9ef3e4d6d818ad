import { setTimeout as sleep } from 'node:timers/promises'
import { type Capability, type FaultKind, type FaultPlan, type FaultWorld, restMs } from './faults.js'

/** More at once than this only keep everything down. */
const activeMax = 3
const drawTriesMax = 20
/** When none could begin, as there are enough or all victims are busy. */
const retryMs = 100

export interface FaultStats {
  count: number
  /** The longest that a request waited for its answer while such a fault was there, perhaps beside others. */
  waitMsMax: number
}

interface Active {
  kind: FaultKind
  plan: FaultPlan
  beganMs: number
  /** Ends it now rather than at its time. */
  hurry: AbortController
  over: Promise<void>
}

/** Injects one fault every one to two seconds, and undoes each after its time. */
export class FaultLoop {
  readonly stats = new Map<string, FaultStats>()
  readonly #active = new Set<Active>()
  /** Until when a process is left alone. */
  readonly #resting = new Map<string, number>()
  /** Of late: began and, perhaps, ended at. */
  #intervals: { kind: string; beganMs: number; endedMs: number }[] = []

  constructor(
    readonly world: FaultWorld,
    readonly kinds: readonly FaultKind[],
    readonly note: (sentence: string) => void,
    /** Given, each fault is alone: the next one comes when this says that the last one has healed. */
    readonly healed: (() => Promise<void>) | null = null,
  ) {
    for (const { name } of kinds) this.stats.set(name, { count: 0, waitMsMax: 0 })
  }

  get count(): number {
    return [...this.stats.values()].reduce((sum, { count }) => sum + count, 0)
  }

  /** Faults for so long; then all are undone. Throws what went wrong with one, if anything did. */
  async run(forMs: number, signal: AbortSignal): Promise<void> {
    const endMs = performance.now() + forMs
    try {
      while (performance.now() < endMs && !signal.aborted) {
        const nextMs = performance.now() + 1000 + this.world.random.integer(1000)
        const isHealthy = this.#active.size === 0 && (await this.#isHealthy())
        const isBegun = this.#beginOne(isHealthy)
        if (this.healed !== null) {
          await Promise.all([...this.#active].map(({ over }) => over))
          await this.healed()
        }
        const waitMs = isBegun ? nextMs - performance.now() : retryMs
        await pause(Math.min(waitMs, endMs - performance.now()), signal)
      }
    } finally {
      for (const { hurry } of this.#active) hurry.abort()
      await Promise.all([...this.#active].map(({ over }) => over))
    }
  }

  /** A request waited from then to then: the faults that were there meanwhile may be why. */
  waited(beganMs: number, endedMs: number): void {
    for (const interval of this.#intervals) {
      if (interval.beganMs > endedMs || interval.endedMs < beganMs) continue
      const stats = this.stats.get(interval.kind)!
      stats.waitMsMax = Math.max(stats.waitMsMax, endedMs - beganMs)
    }
  }

  async #isHealthy(): Promise<boolean> {
    const problems = await this.world.cluster.problems().catch(() => ['the MDM does not answer'])
    return problems.length === 0
  }

  /** Whether there was one that could begin. */
  #beginOne(isHealthy: boolean): boolean {
    if (this.#active.size >= activeMax) return false
    const busy = new Set([...this.#active].flatMap(({ plan }) => plan.victims))
    for (const [name, untilMs] of this.#resting) if (untilMs > performance.now()) busy.add(name)
    if (!isHealthy && this.kinds.every(({ needsHealth }) => needsHealth)) return false
    for (let tries = 0; tries < drawTriesMax; tries++) {
      const kind = this.#drawKind(isHealthy)
      const plan = kind.draw(this.world)
      if (plan.victims.some(name => busy.has(name))) continue
      const active: Active = {
        kind,
        plan,
        beganMs: performance.now(),
        hurry: new AbortController(),
        over: Promise.resolve(),
      }
      this.#active.add(active)
      active.over = this.#carryOut(active)
      // Who waits for it hears of its failure.
      active.over.catch(() => {})
      return true
    }
    return false
  }

  async #carryOut(active: Active): Promise<void> {
    const { kind, plan, beganMs, hurry } = active
    this.stats.get(kind.name)!.count++
    this.#intervals = this.#intervals.filter(({ endedMs }) => endedMs > beganMs - 180_000)
    const interval = { kind: kind.name, beganMs, endedMs: Number.POSITIVE_INFINITY }
    this.#intervals.push(interval)
    this.note(`${plan.what} for ${plan.durationMs} ms`)
    try {
      const undo = await plan.begin()
      await pause(plan.durationMs, hurry.signal)
      await undo()
      this.note(`${plan.what}: over`)
      this.#active.delete(active)
      for (const name of plan.victims) this.#resting.set(name, performance.now() + (restMs.get(name) ?? 0))
    } finally {
      interval.endedMs = performance.now()
    }
  }

  #drawKind(isHealthy: boolean): FaultKind {
    // Moments of health are rare: every other one is for what needs it.
    const delicate = this.kinds.filter(({ needsHealth }) => needsHealth)
    const robust = this.kinds.filter(({ needsHealth }) => !needsHealth)
    const isDelicate = isHealthy && (robust.length === 0 || this.world.random.integer(2) === 0)
    const kinds = isDelicate && delicate.length > 0 ? delicate : robust
    let dice = this.world.random.integer(kinds.reduce((sum, { weight }) => sum + weight, 0))
    for (const kind of kinds) {
      dice -= kind.weight
      if (dice < 0) return kind
    }
    return kinds[0]!
  }
}

/** Those that can happen here, and why the others cannot. */
export function possibleKinds(kinds: readonly FaultKind[], missing: ReadonlyMap<Capability, string>) {
  const leftOut = new Map<string, string>()
  const possible = kinds.filter(({ name, needs = [] }) => {
    const lacks = needs.find(need => missing.has(need))
    if (lacks) leftOut.set(name, missing.get(lacks)!)
    return !lacks
  })
  return { possible, leftOut }
}

const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  ms <= 0 ? Promise.resolve() : sleep(ms, undefined, { signal }).catch(() => {})
