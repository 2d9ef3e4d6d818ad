import fc from 'fast-check'
import t from 'tap'
import { KiB } from '../../../src/base/units.js'
import type { Limits } from '../../../src/core/qos/index.js'
import type { Clock } from '../../../src/ports/index.js'
import { IoRequest } from '../../../src/sdc/io-request.js'
import { ThrottleGate } from '../../../src/sdc/throttle-gate.js'
import { SimClock, seededRandom } from '../../support/index.js'

interface Load {
  limits: Limits
  depth: number
  /** Taken in turn. */
  sizes: readonly number[]
  /** Between the start of a request and its answer, in ms. */
  serviceMs: () => number
  /** How late each timer is, in ms. */
  lateMs?: () => number
  forMs: number
}

const iops = (count: number): Limits => ({ iops: count, bandwidthKbPerSec: 0 })

/** An application that keeps `depth` requests under way at a gate: when each one started. */
async function load({ limits, depth, sizes, serviceMs, lateMs = () => 0, forMs }: Load): Promise<number[]> {
  const world = new SimClock()
  const clock: Clock = {
    nowMs: () => world.nowMs(),
    setTimer: (delayMs, fire) => world.setTimer(delayMs + lateMs(), fire),
    endOfTurn: fire => world.endOfTurn(fire),
  }
  const startedAtMs: number[] = []
  let count = 0
  const start = (): void => {
    startedAtMs.push(world.nowMs())
    world.setTimer(serviceMs(), ask)
  }
  const gate = new ThrottleGate(clock, limits, start)
  const ask = (): void => {
    const request = new IoRequest()
    request.costBytes = sizes[count++ % sizes.length]!
    if (gate.admit(request)) start()
  }
  for (let i = 0; i < depth; i++) ask()
  await world.runFor(forMs)
  return startedAtMs
}

const gapsOf = (atMs: readonly number[]): number[] => atMs.slice(1).map((ms, i) => ms - atMs[i]!)
const p99 = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * 0.99))]!
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const within = (have: number, want: number, share: number) => Math.abs(have - want) <= share * want

t.test('limits: with exact timers the requests of a saturating client start exactly one interval apart', async t => {
  for (const depth of [1, 2, 4, 16, 64]) {
    const gaps = gapsOf(await load({ limits: iops(500), depth, sizes: [4096], serviceMs: () => 0.4, forMs: 4_000 }))
    t.ok(
      gaps.every(gapMs => Math.abs(gapMs - 2) < 1e-3),
      `depth ${depth}: ${Math.min(...gaps)} to ${Math.max(...gaps)} ms`,
    )
  }
})

t.test(
  'limits: timers that are late by up to 1.5 ms cost no throughput, and p99 of the gaps stays under twice the mean',
  async t => {
    const random = seededRandom(5)
    for (const depth of [1, 2, 4, 16, 64]) {
      const startedAtMs = await load({
        limits: iops(500),
        depth,
        sizes: [4 * KiB, 64 * KiB, 32 * KiB],
        serviceMs: () => 0.2 + random.integer(1_000) / 1_000,
        lateMs: () => random.integer(1_500) / 1_000,
        forMs: 10_000,
      })
      const gaps = gapsOf(startedAtMs)
      t.ok(within(mean(gaps), 2, 0.01), `depth ${depth}: mean ${mean(gaps)}`)
      t.ok(p99(gaps) < 2 * mean(gaps), `depth ${depth}: p99 ${p99(gaps)}`)
    }
  },
)

t.test('limits: under a bandwidth limit the gap before a request is in proportion to its size', async t => {
  const sizes = [4 * KiB, 64 * KiB, 16 * KiB, 32 * KiB]
  const limits = { iops: 0, bandwidthKbPerSec: 8 * 1024 }
  const startedAtMs = await load({ limits, depth: 16, sizes, serviceMs: () => 1, forMs: 4_000 })
  // A request starts once its bytes are earned.
  const wrong = gapsOf(startedAtMs).filter((gapMs, i) => {
    const bytes = sizes[(i + 1) % sizes.length]!
    return Math.abs(gapMs - (bytes / (8 * 1024 * KiB)) * 1000) > 1e-3
  })
  t.same(wrong, [])
})

t.test(
  'limits: whatever limit, depth and sizes, a saturating client is evenly spaced and gets all that it may',
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 11, max: 5_000 }),
        fc.integer({ min: 1, max: 64 }),
        fc.array(fc.integer({ min: 512, max: 128 * KiB }), { minLength: 1, maxLength: 8 }),
        async (rate, depth, sizes) => {
          const intervalMs = 1000 / rate
          const gaps = gapsOf(
            await load({
              limits: iops(rate),
              depth,
              sizes,
              serviceMs: () => intervalMs / 3,
              forMs: 200 * intervalMs,
            }),
          )
          return gaps.length >= 198 && gaps.every(gapMs => Math.abs(gapMs - intervalMs) < 1e-3)
        },
      ),
      { numRuns: 50 },
    )
  },
)
