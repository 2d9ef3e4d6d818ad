import t from 'tap'
import type { Member } from '../../../../src/core/raft/index.js'
import { fullVotersOf, isVoter, memberChange } from '../../../../src/core/raft/membership.js'

const member = (word: string): Member => {
  const id = word.replace(/[()]/g, '')
  return { id, kind: id.startsWith('t') ? 'tieBreaker' : 'manager', isLearner: word.startsWith('(') }
}
const list = (words: string) => words.split(' ').map(member)
const change = (have: string, want: string) => {
  const result = memberChange(list(have), list(want))
  return 'refused' in result ? result.refused : `${result.kind} ${result.member.id}`
}

t.test('membership: exactly one member joins, is promoted or demoted, or leaves', async t => {
  t.equal(change('m1 m2 t1', 'm1 m2 t1 (m3)'), 'join m3')
  t.equal(change('m1 m2 (m3)', 'm1 m2 m3'), 'promote m3')
  t.equal(change('m1 m2 m3', 'm1 (m2) m3'), 'demote m2')
  t.equal(change('m1 m2 t1', 'm1 m2'), 'remove t1')
  t.match(change('m1 m2 t1', 'm1'), /one at a time/)
  t.match(change('m1 m2', 'm2 m1'), /the same/, 'the order means nothing')
})

t.test('membership: everybody joins as a learner, ids stand once, and a manager is left', async t => {
  t.match(change('m1', 'm1 m2'), /as a learner first/)
  t.match(change('m1', 'm1 t1'), /as a learner first/)
  t.match(change('m1', 'm1 m1'), /twice/)
  t.match(change('m1 t1', 't1'), /no manager/)
  t.match(change('m1 t1', '(m1) t1'), /no manager/)
  const renamed: Member[] = [{ id: 'm1', kind: 'tieBreaker', isLearner: false }, member('m2')]
  t.match(memberChange(list('m1 m2'), renamed), { refused: /cannot change its kind/ })
})

t.test('membership: learners are no voters, tie breakers no full ones', async t => {
  t.same(
    fullVotersOf(list('m1 (m2) t1')).map(({ id }) => id),
    ['m1'],
  )
  t.ok(isVoter(list('m1 t1'), 't1'))
  t.notOk(isVoter(list('m1 (m2)'), 'm2'))
  t.notOk(isVoter(list('m1'), 'm3'))
})
