import t from 'tap'
import { isWorthNoting, noProgress, progressAfter, resumedProgress } from '../../../../src/core/rebuild/index.js'

t.test('progress: from 0 to 100, never over, and 100 only when nothing is left', async t => {
  let progress = noProgress
  const percents = [1000, 900, 500, 1, 0].map(left => {
    progress = progressAfter(progress, left)
    return progress.percent
  })
  t.same(percents, [0, 10, 50, 99, 100])
})

t.test('progress: more to do raises the total; done, it begins anew', async t => {
  let progress = progressAfter(noProgress, 100)
  progress = progressAfter(progress, 50)
  progress = progressAfter(progress, 400)
  t.same(progress, { bytesLeft: 400, bytesTotal: 400, percent: 0 })
  progress = progressAfter(progressAfter(progress, 0), 10)
  t.same(progress, { bytesLeft: 10, bytesTotal: 10, percent: 0 })
})

t.test('progress: goes on from a total that was noted', async t => {
  t.match(progressAfter(resumedProgress(1000), 400), { bytesLeft: 400, bytesTotal: 1000, percent: 60 })
  t.same(resumedProgress(0), noProgress)
})

t.test('progress: a total is noted when it begins, ends or grows, not while it is worked off', async t => {
  t.ok(isWorthNoting(0, 10))
  t.ok(isWorthNoting(10, 0))
  t.ok(isWorthNoting(100, 130))
  t.notOk(isWorthNoting(100, 120))
  t.notOk(isWorthNoting(0, 0))
})
