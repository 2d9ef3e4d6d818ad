import t from 'tap'
import { type Mutation, mutations, plantMutation } from '../../../src/base/mutation.js'
import { planted } from './planted.js'
import { RaftRun } from './run.js'

t.setTimeout(300_000)

t.test('every planted bug of the consensus is looked for', async t => {
  for (const mutation of mutations.filter(name => name.startsWith('raft-'))) t.ok(mutation in planted, mutation)
})

for (const [mutation, { focus, seedsMax }] of Object.entries(planted))
  t.test(`${mutation}: the simulator finds it within ${seedsMax} seeds`, async t => {
    t.teardown(() => plantMutation(null))
    for (let seed = 1; seed <= seedsMax; seed++) {
      plantMutation(mutation as Mutation)
      const { failure } = new RaftRun(seed, { focus }).play()
      if (failure === null) continue
      plantMutation(null)
      t.equal(new RaftRun(seed, { focus }).play().failure, null, `seed ${seed} is as promised without it`)
      t.pass(`seed ${seed}: ${failure.message.slice(0, 200)}`)
      return
    }
    t.fail('not found')
  })
