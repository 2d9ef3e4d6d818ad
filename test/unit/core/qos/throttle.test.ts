import fc from 'fast-check'
import t from 'tap'
import { GiB, KiB, MiB } from '../../../../src/base/units.js'
import { burstMs, effectiveLimits, Throttle, type Throttled } from '../../../../src/core/qos/index.js'

interface Ask extends Throttled {
  id: number
  atMs: number
}
const ask = (id: number, costBytes: number, atMs: number): Ask => ({ id, costBytes, atMs, nextThrottled: null })

/**
 * An application that keeps `depth` requests of `bytes` under way for `forMs`: when each one started. The clock ticks in
 * whole milliseconds, as timers do.
 */
function load(
  throttle: Throttle<Ask>,
  { depth, bytes, fromMs = 0, forMs }: { depth: number; bytes: number; fromMs?: number; forMs: number },
) {
  const startedAtMs: number[] = []
  let running = 0
  for (let nowMs = fromMs; nowMs < fromMs + forMs; nowMs++) {
    for (let next = throttle.next(nowMs); next !== null; next = throttle.next(nowMs)) {
      startedAtMs.push(nowMs)
      running--
    }
    while (running < depth) {
      if (throttle.admit(ask(0, bytes, nowMs), nowMs)) startedAtMs.push(nowMs)
      else running++
      if (!throttle.limited && startedAtMs.length > 1e5) return startedAtMs
    }
  }
  return startedAtMs
}

t.test('limits: 500 IOPS and 26 MB/s are met within 5% over ten seconds, also after a pause', async t => {
  for (const pauseMs of [0, 60_000])
    for (const kib of [4, 32, 64, 128, 1024]) {
      const throttle = new Throttle<Ask>({ iops: 500, bandwidthKbPerSec: 26 * 1024 }, 0)
      const started = load(throttle, { depth: 16, bytes: kib * KiB, fromMs: pauseMs, forMs: 10_000 })
      const want = Math.min(500, (26 * 1024) / kib)
      const have = started.length / 10
      t.ok(Math.abs(have - want) <= 0.05 * want, `${kib} KiB: ${have} per second, wanted ${want}`)
    }
})

t.test('limits: once the burst is used, requests are evenly spaced', async t => {
  const throttle = new Throttle<Ask>({ iops: 100, bandwidthKbPerSec: 0 }, 0)
  const started = load(throttle, { depth: 4, bytes: 4096, fromMs: 5_000, forMs: 3_000 })
  t.equal(started.filter(atMs => atMs === 5_000).length, (100 * burstMs) / 1000)
  const steady = started.filter(atMs => atMs > 5_000)
  const gaps = steady.slice(1).map((atMs, i) => atMs - steady[i]!)
  t.ok(
    gaps.every(gapMs => gapMs >= 9 && gapMs <= 11),
    gaps.join(' '),
  )
})

t.test('limits: 0 is no limit', async t => {
  const throttle = new Throttle<Ask>({ iops: 0, bandwidthKbPerSec: 0 }, 0)
  for (let id = 0; id < 1000; id++) t.ok(throttle.admit(ask(id, 32 * MiB, 0), 0) || t.fail('waited'))
  t.equal(throttle.waitMs(0), Number.POSITIVE_INFINITY)
})

t.test('limits: a request larger than a bucket borrows; those behind it wait until it is paid back', async t => {
  const throttle = new Throttle<Ask>({ iops: 0, bandwidthKbPerSec: 1024 }, 0)
  const large = ask(1, 32 * MiB, 0)
  t.notOk(throttle.admit(large, 0))
  t.notOk(throttle.admit(ask(2, 4096, 0), 0))
  t.equal(throttle.waitMs(0), burstMs, 'until the bucket is full')
  t.equal(throttle.next(burstMs), large)
  t.equal(throttle.next(burstMs), null)
  const waitMs = throttle.waitMs(burstMs)
  t.ok(waitMs > 31_000 && waitMs < 32_100, `${waitMs}`)
  t.equal(throttle.next(burstMs + waitMs)?.id, 2)
})

t.test('limits: a change takes effect for what waits, and loses nothing', async t => {
  const throttle = new Throttle<Ask>({ iops: 11, bandwidthKbPerSec: 0 }, 0)
  for (let id = 0; id < 100; id++) throttle.admit(ask(id, 4096, 0), 0)
  t.equal(throttle.queueLength, 100)
  throttle.setLimits({ iops: 1000, bandwidthKbPerSec: 0 }, 10)
  const started: number[] = []
  for (let nowMs = 10; nowMs <= 120; nowMs++)
    for (let next = throttle.next(nowMs); next !== null; next = throttle.next(nowMs)) started.push(next.id)
  t.same(
    started,
    Array.from({ length: 100 }, (_, id) => id),
  )
  for (let id = 0; id < 200; id++) throttle.admit(ask(id, 4096, 0), 120)
  const waiting = throttle.queueLength
  t.ok(waiting > 0)
  throttle.setLimits({ iops: 0, bandwidthKbPerSec: 0 }, 120)
  let freed = 0
  while (throttle.next(120) !== null) freed++
  t.equal(freed, waiting)
})

t.test('limits: whatever comes, nobody overtakes, nobody starves, and no window gets more than its share', async () => {
  const request = fc.record({ gapMs: fc.nat(50), bytes: fc.integer({ min: 0, max: 4 * MiB }) })
  fc.assert(
    fc.property(
      fc.array(request, { minLength: 1, maxLength: 60 }),
      fc.integer({ min: 11, max: 2000 }),
      (requests, iops) => {
        const rateKb = 8 * 1024
        const throttle = new Throttle<Ask>({ iops, bandwidthKbPerSec: rateKb }, 0)
        const started: { id: number; bytes: number; atMs: number }[] = []
        let nowMs = 0
        let id = 0
        const release = () => {
          for (let next = throttle.next(nowMs); next !== null; next = throttle.next(nowMs))
            started.push({ id: next.id, bytes: next.costBytes, atMs: nowMs })
        }
        for (const { gapMs, bytes } of requests) {
          nowMs += gapMs
          release()
          const one = ask(id++, bytes, nowMs)
          if (throttle.admit(one, nowMs)) started.push({ id: one.id, bytes, atMs: nowMs })
        }
        for (let waits = 0; throttle.queueLength > 0; waits++) {
          if (waits > 1000) return false
          nowMs += Math.max(1e-3, throttle.waitMs(nowMs))
          release()
        }
        if (started.some(({ id }, index) => id !== index) || started.length !== requests.length) return false
        // Up to the last request of a window: what the bucket held, what was earned, and what that request borrowed.
        for (let from = 0; from < started.length; from++) {
          let bytes = 0
          for (let to = from; to < started.length; to++) {
            const windowMs = started[to]!.atMs - started[from]!.atMs
            const earned = ((windowMs + burstMs) / 1000) * rateKb * KiB
            if (bytes > 0 && bytes > earned + 1) return false
            if (to - from + 1 > ((windowMs + burstMs) / 1000) * iops + 1.001) return false
            bytes += from === to ? Math.min(started[to]!.bytes, earned) : started[to]!.bytes
          }
        }
        return true
      },
    ),
    { numRuns: 200 },
  )
})

t.test('limits of a mapping: its own, else what the size says, else none', async t => {
  const limitPolicy = { iops: 500, bandwidthKbPerSecPerGb: 256 }
  const of = (
    sizeGb: number,
    iopsLimit: number | null,
    bandwidthLimitKbPerSec: number | null,
    policy: typeof limitPolicy | null = limitPolicy,
  ) => effectiveLimits({ sizeBytes: sizeGb * GiB }, { iopsLimit, bandwidthLimitKbPerSec }, { limitPolicy: policy })
  t.same(of(104, null, null), { iops: 500, bandwidthKbPerSec: 26 * 1024 })
  t.same(of(128, null, null), { iops: 500, bandwidthKbPerSec: 32 * 1024 })
  t.same(of(104, 0, 0), { iops: 0, bandwidthKbPerSec: 0 })
  t.same(of(104, 20, 2048), { iops: 20, bandwidthKbPerSec: 2048 })
  t.same(of(104, null, null, null), { iops: 0, bandwidthKbPerSec: 0 })
  t.same(of(8, null, null, { iops: 0, bandwidthKbPerSecPerGb: 3 }), { iops: 0, bandwidthKbPerSec: 1024 })
})
