import t from 'tap'
import { checkStateFormat } from '../../../src/base/state-format.js'

t.test('state format: a directory of before formats were noted is of format 1', async t => {
  t.equal(checkStateFormat(undefined, 3, '/state'), 1)
  t.equal(checkStateFormat('2', 3, '/state'), 2)
})

t.test('state format: a newer one, and one that is none, are refused, with the way out', async t => {
  for (const have of [4, '4', 0, -1, 'x', null, 1.5])
    t.throws(() => checkStateFormat(have, 3, '/state'), {
      code: 'CONFIGURATION',
      context: { directory: '/state', known: 3, remedy: /upgrade this server/ },
    })
})
