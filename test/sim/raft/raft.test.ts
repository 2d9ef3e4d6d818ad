import t from 'tap'
import { RaftRun } from './run.js'

t.setTimeout(300_000)

/** Seeds that once failed, and what they found. */
const found: Record<number, string> = {
  48: 'a member that is about to leave has to campaign until that is committed',
  52: 'a leaving leader offered tie breakers everything, since no full member was left that answers',
}

for (const [seed, sentence] of Object.entries(found))
  t.test(`raft: seed ${seed}: ${sentence}`, async t => {
    t.equal(new RaftRun(Number(seed)).play().failure, null)
  })

t.test(
  'raft: whatever fails in 600 groups, all promises are kept, and all go on when everything works again',
  async t => {
    let acknowledged = 0
    let read = 0
    for (let seed = 1; seed <= 600; seed++) {
      const result = new RaftRun(seed).play()
      if (result.failure) t.fail(`seed ${seed}: ${result.failure.message}`)
      acknowledged += result.acknowledged
      read += result.read
    }
    t.ok(acknowledged > 20_000, `${acknowledged} changes were acknowledged`)
    t.ok(read > 10_000, `${read} reads were checked`)
  },
)

for (const shape of ['2+1', '3+2'] as const)
  t.test(`raft: of ${shape} members any one is lost, at any moment and in any way: the others go on`, async t => {
    for (let seed = 1; seed <= 100; seed++) {
      const { failure } = new RaftRun(seed, { focus: { shape, isOneAtATime: true } }).play()
      if (failure) t.fail(`seed ${seed}: ${failure.message}`)
    }
  })
