import t from 'tap'
import { type Mutation, mutations } from '../../src/base/mutation.js'
import { planted, plantedInTheStore, unseen } from './planted.js'
import { play } from './play.js'
import { planted as plantedInRaft } from './raft/planted.js'

t.setTimeout(600_000)

t.test('every planted bug is found, or it is said why it cannot be seen', async t => {
  const lists = [Object.keys(planted), Object.keys(plantedInRaft), plantedInTheStore, Object.keys(unseen)]
  for (const mutation of mutations)
    t.equal(lists.filter(list => list.includes(mutation)).length, 1, `${mutation} stands in one of the lists`)
})

for (const [mutation, { seedsMax }] of Object.entries(planted))
  t.test(`${mutation}: the simulator finds it within ${seedsMax} seeds`, async t => {
    for (let seed = 1; seed <= seedsMax; seed++) {
      const { failure } = await play(seed, { mutation: mutation as Mutation })
      if (failure === null) continue
      t.pass(`seed ${seed}: ${failure.message.slice(0, 200)}`)
      return
    }
    t.fail('not found')
  })
