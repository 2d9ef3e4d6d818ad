import fc from 'fast-check'
import t from 'tap'
import { GrantedLeases, HeldLease, PromotionWaits, promiseMs } from '../../../../src/core/lease/index.js'

const leaseMs = 1_000

t.test('granted: the granter is bound for 5 % longer than the lease, from its answer', async t => {
  const granted = new GrantedLeases(0, leaseMs)
  t.equal(granted.untilMs(7), promiseMs(leaseMs), 'a process that starts counts as having granted everybody')
  granted.grant(7, 5_000, leaseMs)
  t.equal(granted.untilMs(7), 5_000 + 1_050)
  t.equal(granted.untilMs(8), promiseMs(leaseMs))
  t.equal(granted.untilMs(null), 5_000 + 1_050, 'to anybody: the latest')
})

t.test('held: a lease counts from the ask, and one that was asked for earlier does not shorten it', async t => {
  const held = new HeldLease()
  held.granted(100, leaseMs)
  held.granted(50, leaseMs)
  t.equal(held.untilMs, 1_100)
})

t.test('held: silence counts from the first ask without an answer; a stall of our own is not theirs', async t => {
  const held = new HeldLease()
  held.asked(100)
  held.asked(350)
  t.equal(held.silentMs(600), 500)
  held.refused()
  held.stalled(5_000)
  t.equal(held.silentMs(5_100), 100)
  t.notOk(held.isRefused)
  held.heard()
  t.equal(held.silentMs(9_000), 0)
})

t.test('promotion: ends with time, with what the former primary shows, or with its new process', async t => {
  const waits = new PromotionWaits()
  const wait = { sds: 1, version: 10, incarnation: 3, untilMs: 1_000 }
  waits.registered(1, 3)
  for (const key of [0, 1]) waits.add({ ...wait, key }, 0)
  waits.shown(1, 9)
  t.notOk(waits.release(999))
  waits.shown(1, 10)
  t.ok(waits.release(999))
  t.equal(waits.countNow, 0)

  waits.add({ ...wait, key: 2, version: 11 }, 0)
  waits.registered(1, 4)
  t.ok(waits.release(0))

  waits.add({ ...wait, key: 3, version: 12, incarnation: 4 }, 0)
  waits.add({ ...wait, key: 3, version: 13, incarnation: 4, sds: 2, untilMs: 500 }, 0)
  waits.shown(2, 13)
  t.notOk(waits.release(999), 'who is promoted twice within one lease waits for both')
  t.equal(waits.nextMs, 1_000)
  t.ok(waits.release(1_000))

  waits.add({ ...wait, key: 4, sds: null, untilMs: 2_000 }, 0)
  waits.shown(1, 99)
  t.notOk(waits.release(1_999), 'nobody can confirm for whoever it was')
})

/**
 * Two processes with clocks that are off by up to 1 %, each stalled now and then, messages late by as much as they like.
 * The one asks and reads; the other grants until it is promoted, then waits and acts.
 */
t.test('leases: the former primary never shows a read at a moment when the new one acts', async t => {
  const step = fc.record({ afterMs: fc.nat(400), answerLateMs: fc.nat(3_000), askLateMs: fc.nat(3_000) })
  const rate = fc.double({ min: 0.99, max: 1.01, noNaN: true })
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 20 }),
        rate,
        rate,
        fc.nat(5_000),
        (steps, holderRate, granterRate, promotedMs) => {
          const held = new HeldLease()
          const granted = new GrantedLeases(0, leaseMs)
          const waits = new PromotionWaits()
          const grants: { answeredMs: number; askedMs: number; arrivesMs: number }[] = []
          let atMs = 0
          for (const { afterMs, askLateMs, answerLateMs } of steps) {
            atMs += afterMs
            const answeredMs = atMs + askLateMs
            // Once it is promoted it withholds the lease from an asker that does not know.
            if (answeredMs < promotedMs)
              grants.push({ askedMs: atMs, answeredMs, arrivesMs: answeredMs + answerLateMs })
          }
          for (const { answeredMs } of grants) granted.grant(1, answeredMs * granterRate, leaseMs)
          const untilMs = granted.untilMs(1)
          waits.add({ key: 0, sds: 1, version: 2, incarnation: 1, untilMs }, promotedMs * granterRate)
          const actsFromMs = waits.has(0) ? untilMs / granterRate : promotedMs
          for (const { askedMs, arrivesMs } of grants) {
            held.granted(askedMs * holderRate, leaseMs)
            const readsUntilMs = held.untilMs / holderRate
            if (arrivesMs < readsUntilMs && readsUntilMs > actsFromMs) return false
          }
          return true
        },
      ),
    ),
  )
})
