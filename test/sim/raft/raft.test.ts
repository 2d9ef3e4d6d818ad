import t from 'tap'
import { RaftRun } from './run.js'

t.setTimeout(300_000)

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

const losses = [
  { shape: '2+1', lossesMax: 1 },
  { shape: '3+2', lossesMax: 1 },
  { shape: '3+2', lossesMax: 2 },
] as const
for (const { shape, lossesMax } of losses)
  t.test(
    `raft: of ${shape} members any ${lossesMax} are lost, at any moment and in any way: the others go on`,
    async t => {
      for (let seed = 1; seed <= 100; seed++) {
        const { failure } = new RaftRun(seed, { focus: { shape, lossesMax, losesMembers: true } }).play()
        if (failure) t.fail(`seed ${seed}: ${failure.message}`)
      }
    },
  )
