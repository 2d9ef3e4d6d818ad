import t from 'tap'
import { SharedTally, tallies, totalTally } from '../../../src/io/tallies.js'

t.test('a tally that was closed is used again, from its beginning, once nothing in it is under way', async t => {
  const first = new SharedTally()
  const second = new SharedTally()
  const at = first.index * 4
  tallies.set([5, 20_480, 1, 2], at)
  t.match(first, { ios: 5, bytes: 20_480, underWay: 1, returned: 2 })
  first.close()
  const third = new SharedTally()
  t.notOk([first.index, second.index, totalTally.index].includes(third.index), 'something is under way in the first')
  tallies[at + 2] = 0
  const fourth = new SharedTally()
  t.equal(fourth.index, first.index)
  t.match(fourth, { ios: 0, bytes: 0, underWay: 0, returned: 0 })
  t.not(new SharedTally().index, first.index)
})

t.test('a process may open as many devices and volumes as it likes, one after the other', async t => {
  const one = new SharedTally()
  one.close()
  const places = new Set<number>()
  for (let i = 0; i < 40_000; i++) {
    const tally = new SharedTally()
    places.add(tally.index)
    tally.close()
  }
  t.same([...places], [one.index])
})
