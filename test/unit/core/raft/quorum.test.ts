import fc from 'fast-check'
import t from 'tap'
import { majorityReached, quorumOf } from '../../../../src/core/raft/quorum.js'

t.test('quorum: any two majorities share a voter, and no smaller number has that', async t => {
  for (let voters = 1; voters <= 9; voters++) {
    t.ok(2 * quorumOf(voters) > voters, `${quorumOf(voters)} of ${voters}`)
    t.notOk(2 * (quorumOf(voters) - 1) > voters, `${quorumOf(voters) - 1} of ${voters}`)
  }
})

t.test('quorum: what a majority has reached, a majority has, and nothing more', async t => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { minLength: 1, maxLength: 7 }), reached => {
      const index = majorityReached(reached)
      const have = (least: number) => reached.filter(one => one >= least).length
      return have(index) >= quorumOf(reached.length) && have(index + 1) < quorumOf(reached.length)
    }),
  )
  t.equal(majorityReached([]), 0, 'nobody has nothing')
})
