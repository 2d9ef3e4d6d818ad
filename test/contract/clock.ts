import t from 'tap'
import type { Clock } from '../../src/ports/clock.js'

/** What a clock promises, on whichever implementation. `pass` lets at least `ms` go by. */
export function clockContract(name: string, setUp: () => { clock: Clock; pass(ms: number): Promise<void> }): void {
  t.test(`${name}: timers fire once, in order of time, and never early`, async t => {
    const { clock, pass } = setUp()
    const startMs = clock.nowMs()
    const fired: [string, number][] = []
    for (const [label, delayMs] of [
      ['b', 20.5],
      ['a', 5.25],
      ['c', 30],
      ['now', 0],
      ['past', -5],
    ] as const)
      clock.setTimer(delayMs, () => fired.push([label, clock.nowMs() - startMs - delayMs]))
    t.equal(fired.length, 0, 'nothing fires during the call')
    await pass(60)
    t.same(
      fired.map(([label]) => label).filter(label => label.length === 1),
      ['a', 'b', 'c'],
    )
    t.equal(fired.length, 5)
    t.ok(fired.every(([, lateMs]) => lateMs >= 0))
  })

  t.test(`${name}: a cancelled timer does not fire, and may be cancelled again, also when it has fired`, async t => {
    const { clock, pass } = setUp()
    let fired = 0
    const cancelled = clock.setTimer(5, () => fired++)
    const kept = clock.setTimer(5, () => fired++)
    cancelled.cancel()
    cancelled.cancel()
    await pass(20)
    t.equal(fired, 1)
    kept.cancel()
    await pass(20)
    t.equal(fired, 1)
  })

  t.test(
    `${name}: the end of a turn comes after what is due in it, in order, also when one asks for another`,
    async t => {
      const { clock, pass } = setUp()
      const order: string[] = []
      clock.setTimer(1, () => {
        clock.endOfTurn(() => {
          order.push('first end')
          clock.endOfTurn(() => order.push('third end'))
        })
        clock.endOfTurn(() => order.push('second end'))
        Promise.resolve().then(() => order.push('promise job'))
        order.push('event')
      })
      await pass(20)
      t.same(order, ['event', 'promise job', 'first end', 'second end', 'third end'])
    },
  )

  t.test(`${name}: an end of turn that always asks for another does not stop the world`, async t => {
    const { clock, pass } = setUp()
    let rounds = 0
    let fired = false
    const again = () => {
      if (++rounds < 500 && !fired) clock.endOfTurn(again)
    }
    clock.endOfTurn(again)
    clock.setTimer(1, () => (fired = true))
    await pass(30)
    t.ok(fired)
  })

  t.test(`${name}: time never goes back`, async t => {
    const { clock, pass } = setUp()
    let lastMs = clock.nowMs()
    for (let i = 0; i < 1000; i++) {
      const nowMs = clock.nowMs()
      if (nowMs < lastMs) t.fail('it went back')
      lastMs = nowMs
    }
    await pass(10)
    t.ok(clock.nowMs() >= lastMs + 10)
  })
}
