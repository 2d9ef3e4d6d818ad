import t from 'tap'
import { Progress } from '../../../../src/core/raft/progress.js'
import { Standing } from '../../../../src/core/raft/standing.js'

t.test('progress: a probe is one append at a time, until an answer comes', async t => {
  const progress = new Progress(5, 2)
  progress.sent(3)
  t.ok(progress.isPaused)
  t.equal(progress.next, 5, 'it counts on nothing')
  progress.resume()
  t.notOk(progress.isPaused)
})

t.test(
  'progress: a refusal moves a probe back to the hint, at least by one, and never before what is known',
  async t => {
    const progress = new Progress(10, 2)
    t.ok(progress.refused(9, 4))
    t.equal(progress.next, 5)
    t.notOk(progress.refused(9, 2), 'an old refusal says nothing')
    t.ok(progress.refused(4, 8))
    t.equal(progress.next, 4)
    progress.accepted(3)
    t.notOk(progress.refused(3, 0))
  },
)

t.test('progress: appends follow each other without an answer, up to the window', async t => {
  const progress = new Progress(1, 2)
  progress.becomeReplicate()
  progress.sent(3)
  progress.sent(2)
  t.equal(progress.next, 6)
  t.ok(progress.isFull)
  t.ok(progress.accepted(3))
  t.notOk(progress.isFull)
  t.notOk(progress.accepted(2), 'an older answer brings nothing')
  t.equal(progress.match, 3)
  t.ok(progress.refused(5, 3), 'what was sent is lost')
  t.equal(progress.state, 'probe')
  t.equal(progress.next, 4)
})

t.test('standing: who acknowledges is in step, who is only heard is not for long', async t => {
  const standing = new Standing(3, 10, 3)
  standing.gotOn(0)
  for (let ticks = 2; ticks > 0; ticks--) standing.tick()
  t.ok(standing.isInStep)
  standing.gotOn(50)
  for (let ticks = 2; ticks > 0; ticks--) standing.tick()
  t.ok(standing.isInStep, 'it falls behind, but gets on')
  standing.tick()
  t.notOk(standing.isInStep)
})

t.test('standing: who returns is in step when it is near, not before', async t => {
  const standing = new Standing(3, 10, 0)
  standing.gotOn(50)
  t.notOk(standing.isInStep)
  standing.gotOn(10)
  t.ok(standing.isInStep)
  standing.leave()
  t.notOk(standing.isInStep)
})

t.test(
  'standing: who is only presumed to be there, and turns out to be far behind, is out of step at once',
  async t => {
    const standing = new Standing(3, 10, 2)
    t.ok(standing.isInStep)
    standing.gotOn(50)
    t.notOk(standing.isInStep)
  },
)
