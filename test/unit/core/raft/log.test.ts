import fc from 'fast-check'
import t from 'tap'
import type { Entry, Member, Recovered } from '../../../../src/core/raft/index.js'
import { RaftLog } from '../../../../src/core/raft/log.js'

const voter = (id: string): Member => ({ id, kind: 'manager', isLearner: false })
const first = [voter('m1')]
const second = [voter('m1'), voter('m2')]

const recovered = (terms: readonly number[], more: Partial<Recovered> = {}): Recovered => ({
  hardState: { term: terms.at(-1) ?? 0, vote: null, commit: 0 },
  snapshot: { index: 0, term: 0, members: first },
  entries: entries(1, terms),
  mark: { term: 0, index: 0 },
  appliedIndex: 0,
  ...more,
})

const entries = (from: number, terms: readonly number[]): Entry[] =>
  terms.map((term, at) => ({ index: from + at, term, payload: `${from + at}/${term}` }))

const termsOf = (log: RaftLog) => log.from(log.base.index + 1).map(({ term }) => term)

t.test('log: what a leader sends replaces from the first entry that differs, and nothing before', async t => {
  const log = new RaftLog(recovered([1, 1, 2, 2]))
  t.equal(log.merge(entries(2, [1, 2])), null, 'all is there already')
  t.same(termsOf(log), [1, 1, 2, 2], 'what follows stays')
  t.equal(log.merge(entries(3, [2, 3, 3])), 4)
  t.same(termsOf(log), [1, 1, 2, 3, 3])
  t.equal(log.stable, 3, 'what is new is not durable')
})

t.test('log: a committed entry is never replaced', async t => {
  const log = new RaftLog(recovered([1, 1, 1]))
  log.commitTo(2)
  t.throws(() => log.merge(entries(2, [2])), /never replaced/)
  t.throws(() => log.commitTo(4), /new id/, 'and nobody can be told of a commit that it has lost')
})

t.test('log: entries are handed out once, in order, when they are committed and durable', async t => {
  const log = new RaftLog(recovered([1, 1]))
  log.merge(entries(3, [1, 1]))
  log.commitTo(4)
  t.same(
    log.takeCommitted().map(({ index }) => index),
    [1, 2],
  )
  log.setStable(4)
  t.same(
    log.takeCommitted().map(({ index }) => index),
    [3, 4],
  )
  t.same(log.takeCommitted(), [])
})

t.test('log: the newest list of members counts, and the one before it when that is replaced', async t => {
  const log = new RaftLog(recovered([1]))
  log.append({ index: 2, term: 1, payload: null, members: second })
  t.same(log.members, second)
  t.notOk(log.areMembersCommitted)
  t.same(log.membersBefore, first)
  log.merge(entries(2, [2]))
  t.same(log.members, first)
  t.ok(log.areMembersCommitted)
})

t.test('log: compaction keeps what follows, and the members of its place', async t => {
  const log = new RaftLog(recovered([1, 1]))
  log.append({ index: 3, term: 2, payload: null, members: second })
  log.append({ index: 4, term: 2, payload: 'a' })
  log.setStable(4)
  log.commitTo(4)
  t.throws(() => log.compact(3), /applied/)
  log.takeCommitted()
  log.compact(3)
  t.same(log.base, { index: 3, term: 2 })
  t.same(log.members, second)
  t.same(termsOf(log), [2])
  t.equal(log.termAt(2), null)
  t.equal(log.termAt(3), 2)
  log.compact(1)
  t.same(log.base, { index: 3, term: 2 }, 'an older place changes nothing')
})

t.test('log: as many entries as fit are taken, and always one', async t => {
  const log = new RaftLog(recovered([1, 1, 1, 1]))
  const count = (countMax: number, bytesMax: number) => log.slice(2, countMax, bytesMax, () => 10).length
  t.equal(count(2, 100), 2)
  t.equal(count(9, 25), 2)
  t.equal(count(9, 5), 1)
  t.equal(count(0, 100), 0)
})

t.test('log: a hint never skips the place up to which two logs agree', async t => {
  const sorted = fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 8 }).map(terms => terms.sort())
  const hints = fc.property(sorted, sorted, sorted, (shared, mine, theirs) => {
    const above = (terms: number[]) => terms.filter(term => term >= (shared.at(-1) ?? 1))
    const leader = new RaftLog(recovered([...shared, ...above(mine)]))
    const follower = new RaftLog(recovered([...shared, ...above(theirs)]))
    let common = 0
    while (leader.termAt(common + 1) !== null && leader.termAt(common + 1) === follower.termAt(common + 1)) common++
    let prev = leader.last
    for (let questions = 0; !follower.has(prev); questions++) {
      const hint = follower.newestOfTerm(prev.index, prev.term)
      const found = leader.newestOfTerm(hint.index, hint.term)
      const index = Math.min(prev.index - 1, found.index)
      if (index < common || questions > 5) return false
      prev = { index, term: leader.termAt(index)! }
    }
    return true
  })
  t.doesNotThrow(() => fc.assert(hints))
})

t.test('log: a snapshot takes the place of everything', async t => {
  const log = new RaftLog(recovered([1, 1, 1]))
  log.restore({ index: 9, term: 4, members: second })
  t.same(log.last, { index: 9, term: 4 })
  t.equal(log.commit, 9)
  t.same(log.members, second)
  t.same(log.takeCommitted(), [], 'what it stands for is not handed out')
})

t.test(
  'log: a commit that was written is known again after a restart, what was applied is not handed out again',
  async t => {
    const log = new RaftLog(recovered([1, 1, 1], { hardState: { term: 1, vote: null, commit: 2 }, appliedIndex: 1 }))
    t.same(
      log.takeCommitted().map(({ index }) => index),
      [2],
    )
  },
)
