import t from 'tap'
import { mayTakePart, noteOut, noteReturned, openDamping, oscillations } from '../../../../src/core/membership/index.js'

t.test('damping: once out takes part at once; out again soon after its return waits 1 s, 2 s … 30 s', async t => {
  const damping = openDamping()
  const pauses: number[] = []
  let nowMs = 10_000
  for (let times = 0; times < 8; times++) {
    noteOut(damping, nowMs)
    t.notOk(mayTakePart(damping, nowMs), 'not while it is out')
    noteReturned(damping, nowMs + 500)
    pauses.push(damping.pauseMs)
    t.equal(mayTakePart(damping, nowMs + 500), damping.pauseMs === 0)
    t.ok(mayTakePart(damping, nowMs + 500 + damping.pauseMs))
    nowMs += 1_000 + damping.pauseMs
  }
  t.same(pauses, [0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
})

t.test('damping: after a quiet time it starts over; the windows count what was', async t => {
  const damping = openDamping()
  noteOut(damping, 0)
  noteReturned(damping, 1_000)
  noteOut(damping, 2_000)
  noteOut(damping, 2_250)
  noteReturned(damping, 3_000)
  t.same(oscillations(damping, 3_000), { short: 2, medium: 2, long: 2 }, 'being out counts once')
  noteOut(damping, 200_000)
  t.equal(damping.pauseMs, 0)
  t.same(oscillations(damping, 200_000), { short: 1, medium: 3, long: 3 })
})
