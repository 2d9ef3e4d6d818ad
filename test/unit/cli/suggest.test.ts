import t from 'tap'
import { distance, suggest } from '../../../src/cli/format/suggest.js'

t.test('suggestions: a letter missing, wrong or swapped is one step', async t => {
  t.equal(distance('volume', 'volume'), 0)
  t.equal(distance('volme', 'volume'), 1)
  t.equal(distance('volumr', 'volume'), 1)
  t.equal(distance('voulme', 'volume'), 1)
  t.equal(distance('', 'abc'), 3)
})

t.test('suggestions: the nearest known words come first, far ones not at all', async t => {
  const known = ['add_volume', 'add_fault_set', 'remove_volume', 'query_all']
  t.equal(suggest('ad_volume', known)[0], 'add_volume')
  t.same(suggest('frobnicate', known), [])
})
