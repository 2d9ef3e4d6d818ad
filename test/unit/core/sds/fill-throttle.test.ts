import t from 'tap'
import { KiB, MiB } from '../../../../src/base/units.js'
import { type FillKind, FillThrottle, piecesAtOnceMax } from '../../../../src/core/sds/fill-throttle.js'
import type { IoPolicy } from '../../../../src/model/index.js'

const pieceBytes = 256 * KiB
const both = (policy: IoPolicy) => ({ rebuild: policy, rebalance: policy })
const dynamic: IoPolicy = {
  kind: 'dynamicBwThrottling',
  concurrentIos: 2,
  bandwidthKbPerSec: 8 * 1024,
  appIopsThreshold: 100,
  appBandwidthKbPerSecThreshold: 4 * 1024,
  quietPeriodMs: 500,
}

/** Copies for `forMs`, each piece taking `pieceMs`, beside an application of `iops` and `kbPerSec`; returns bytes taken. */
function copy(throttle: FillThrottle, fromMs: number, forMs: number, load: { iops?: number; kbPerSec?: number } = {}) {
  const pieceMs = 5
  const ends: number[] = []
  let bytes = 0
  let underWayMax = 0
  for (let nowMs = fromMs; nowMs < fromMs + forMs; nowMs++) {
    while (ends.length > 0 && ends[0]! <= nowMs) {
      ends.shift()
      throttle.ended('rebuild')
    }
    throttle.noteLoad(((load.iops ?? 0) * nowMs) / 1000, ((load.kbPerSec ?? 0) * KiB * nowMs) / 1000, nowMs)
    while (throttle.take('rebuild', pieceBytes, nowMs) === 0) {
      bytes += pieceBytes
      ends.push(nowMs + pieceMs)
      underWayMax = Math.max(underWayMax, ends.length)
    }
  }
  for (const _ of ends) throttle.ended('rebuild')
  return { bytes, underWayMax, mbPerSec: bytes / MiB / (forMs / 1000) }
}

t.test('fill throttle: unlimited is bound by the number of pieces at a time alone', async t => {
  const { underWayMax } = copy(new FillThrottle(both({ kind: 'unlimited' }), 0), 0, 1_000, { iops: 10_000 })
  t.equal(underWayMax, piecesAtOnceMax)
})

t.test('fill throttle: limitNumOfConcurrentIos never has more pieces under way, whatever the load', async t => {
  const policy: IoPolicy = { kind: 'limitNumOfConcurrentIos', concurrentIos: 3 }
  const { underWayMax, mbPerSec } = copy(new FillThrottle(both(policy), 0), 0, 1_000, { iops: 10_000 })
  t.equal(underWayMax, 3)
  t.ok(mbPerSec > 140, 'and no other bound')
})

t.test('fill throttle: favorAppIos keeps to its bandwidth over any ten seconds, load or not', async t => {
  for (const bandwidthKbPerSec of [512, 10 * 1024, 50 * 1024]) {
    const policy: IoPolicy = { kind: 'favorAppIos', concurrentIos: 4, bandwidthKbPerSec }
    const { mbPerSec, underWayMax } = copy(new FillThrottle(both(policy), 0), 0, 10_000)
    t.ok(Math.abs(mbPerSec / (bandwidthKbPerSec / 1024) - 1) < 0.06, `${mbPerSec} MB/s`)
    t.ok(underWayMax <= 4)
  }
})

t.test('fill throttle: dynamicBwThrottling bounds the bandwidth beside applications, and only then', async t => {
  const throttle = new FillThrottle(both(dynamic), 0)
  copy(throttle, 0, 1_000)
  t.ok(copy(throttle, 1_000, 5_000).mbPerSec > 90, 'nobody uses the device')
  copy(throttle, 6_000, 200, { iops: 1_000 })
  const busy = copy(throttle, 6_200, 5_000, { iops: 1_000 })
  t.ok(busy.mbPerSec < 8.5, `${busy.mbPerSec} MB/s beside 1000 IOPS`)
  t.ok(copy(throttle, 11_200, 5_000, { kbPerSec: 64 * 1024 }).mbPerSec < 9, 'beside 64 MB/s')
})

t.test('fill throttle: after the last load the bound stays for the quiet period, then goes', async t => {
  const throttle = new FillThrottle(both(dynamic), 0)
  copy(throttle, 0, 2_000, { iops: 500 })
  // The counters stand still from here on.
  const rest = (fromMs: number, forMs: number) => {
    let bytes = 0
    for (let nowMs = fromMs; nowMs < fromMs + forMs; nowMs++) {
      throttle.noteLoad(1_000, 0, nowMs)
      if (throttle.take('rebuild', pieceBytes, nowMs) !== 0) continue
      bytes += pieceBytes
      throttle.ended('rebuild')
    }
    return bytes / MiB / (forMs / 1000)
  }
  t.ok(rest(2_000, 400) < 11)
  rest(2_400, 300)
  t.ok(rest(2_700, 500) > 100)
})

t.test('fill throttle: what it has not watched counts as used', async t => {
  const throttle = new FillThrottle(both(dynamic), 0)
  t.ok(copy(throttle, 10_000, 400).mbPerSec < 11, 'at the start of a fill')
  copy(throttle, 10_400, 1_000)
  t.ok(copy(throttle, 60_000, 400).mbPerSec < 11, 'and after a pause')
})

t.test('fill throttle: the two kinds have bounds of their own, and a wait says how long', async t => {
  const policies: Record<FillKind, IoPolicy> = {
    rebuild: { kind: 'limitNumOfConcurrentIos', concurrentIos: 1 },
    rebalance: { kind: 'favorAppIos', concurrentIos: 2, bandwidthKbPerSec: 1024 },
  }
  const throttle = new FillThrottle(policies, 0)
  t.equal(throttle.take('rebuild', pieceBytes, 0), 0)
  t.equal(throttle.take('rebuild', pieceBytes, 0), null, 'until a piece has ended')
  const waitMs = throttle.take('rebalance', pieceBytes, 0)!
  t.ok(waitMs > 0)
  t.not(throttle.take('rebalance', pieceBytes, waitMs - 1), 0)
  t.equal(throttle.take('rebalance', pieceBytes, waitMs), 0)
  throttle.setPolicies({ ...policies, rebalance: { kind: 'unlimited' } }, waitMs)
  t.equal(throttle.take('rebalance', pieceBytes, waitMs), 0, 'a new policy holds at once')
})

/** As `copy`, beside an application that waits for the device in `use` of the time. */
function copyBeside(use: number, kbPerSec: number): number {
  const policy = { ...(dynamic as object), bandwidthKbPerSec: 16 * 1024, appPercent: 5 } as IoPolicy
  const throttle = new FillThrottle(both(policy), 0)
  let bytes = 0
  for (let nowMs = 0; nowMs < 30_000; nowMs++) {
    throttle.noteLoad(nowMs, kbPerSec * KiB * (nowMs / 1000), nowMs)
    throttle.noteUse(nowMs % 10 < use * 10, nowMs)
    if (throttle.take('rebuild', pieceBytes, nowMs) !== 0) continue
    if (nowMs >= 10_000) bytes += pieceBytes
    throttle.ended('rebuild')
  }
  return bytes / MiB / 20
}

t.test('fill throttle: beside applications that never let the device rest, a share of what they move', async t => {
  t.ok(Math.abs(copyBeside(1, 100 * 1024) - 5) < 0.5, '5% of a fast disk')
  t.ok(Math.abs(copyBeside(1, 1024 * 1024) - 16) < 1, 'never more than the bandwidth')
  t.ok(Math.abs(copyBeside(1, 5 * 1024) - 1) < 0.2, 'nor less than 1 MB/s')
})

t.test('fill throttle: the more a device rests between applications, the nearer to the bandwidth', async t => {
  t.ok(Math.abs(copyBeside(0.5, 8 * 1024) - 4) < 1)
  t.ok(Math.abs(copyBeside(0.1, 8 * 1024) - 13) < 1.5)
})
