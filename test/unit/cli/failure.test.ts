import t from 'tap'
import { StorageError } from '../../../src/base/errors.js'
import { failureOf, Mistakes } from '../../../src/cli/format/failure.js'

t.test('failures: the exit code follows the error table, the sentence names object, rule and remedy', async t => {
  const error = new StorageError('NOT_FOUND', { detail: 'there is no volume vol9', remedy: 'list them' })
  t.match(failureOf(error), { exit: 66, text: 'Error: there is no volume vol9; list them' })
  t.match(failureOf(error).json.error, { code: 'NOT_FOUND', context: { remedy: 'list them' } })
})

t.test('failures: several mistakes are one line each, and a list in JSON', async t => {
  const failure = failureOf(new Mistakes(['one', 'two']))
  t.equal(failure.text, 'Error: one\nError: two')
  t.equal(failure.exit, 64)
  t.same(failure.json.error.mistakes, ['one', 'two'])
})

t.test('failures: what is not ours is something inside', async t => {
  t.match(failureOf(new TypeError('x is not a function')), { exit: 70, text: /^Error: x is not a function/ })
  t.match(failureOf('odd'), { exit: 70, text: 'Error: odd' })
})
