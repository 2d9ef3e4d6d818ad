import t from 'tap'
import { isAtLeast } from '../../../../src/core/raft/position.js'

t.test('position: a newer term is later, whatever the index; in one term the index decides', async t => {
  t.ok(isAtLeast({ term: 3, index: 1 }, { term: 2, index: 9 }))
  t.notOk(isAtLeast({ term: 2, index: 9 }, { term: 3, index: 1 }))
  t.ok(isAtLeast({ term: 2, index: 9 }, { term: 2, index: 8 }))
  t.ok(isAtLeast({ term: 2, index: 9 }, { term: 2, index: 9 }))
  t.notOk(isAtLeast({ term: 2, index: 8 }, { term: 2, index: 9 }))
})
