import t from 'tap'
import type { DeviceId } from '../../../../src/base/ids.js'
import { type Outcome, type Standing, settleSlice } from '../../../../src/core/slices/index.js'
import type { SliceRecord } from '../../../../src/model/index.js'

const [P, S, J] = ['P', 'S', 'J'] as DeviceId[] as [DeviceId, DeviceId, DeviceId]
const away: Standing = { kind: 'away' }
const gone: Standing = { kind: 'away', convicted: true }
const up: Standing = { kind: 'up' }
const clean: Standing = { kind: 'restarted' }
const unclean: Standing = { kind: 'unclean', sameBoot: true, graceOver: false }
const rebooted: Standing = { kind: 'unclean', sameBoot: false, graceOver: false }
const uncleanLate: Standing = { kind: 'unclean', sameBoot: true, graceOver: true }
const rebootedLate: Standing = { kind: 'unclean', sameBoot: false, graceOver: true }

const pair: SliceRecord = { slice: 3, epoch: 7, primary: P, secondary: S, joining: null, lossEpoch: 2 }
const alone: SliceRecord = { ...pair, secondary: null }
const filling: SliceRecord = { ...alone, joining: J }

const run = (record: SliceRecord, standings: Partial<Record<string, Standing>>, floor = 0): Outcome =>
  settleSlice(record, id => standings[id] ?? up, floor)

const keep = { kind: 'keep' }
/** What was in sync until now may join by its marks: it is `left`. */
const joins = (authority: DeviceId, joining: DeviceId, lossEpoch = 2) => ({
  kind: 'change',
  record: { slice: 3, epoch: 8, primary: authority, secondary: null, joining, lossEpoch, left: joining },
})
const leaves = (authority: DeviceId, left: DeviceId, lossEpoch = 2) => ({
  kind: 'change',
  record: { slice: 3, epoch: 8, primary: authority, secondary: null, joining: null, lossEpoch, left },
})

const cases: [string, Standing, Standing, unknown][] = [
  ['both up: stays', up, up, keep],
  ['a clean restart of the primary: stays, in the same epoch', clean, up, keep],
  ['a clean restart of the secondary: stays', up, clean, keep],
  ['the primary is away: nothing is promoted', away, up, keep],
  ['the primary is away and the secondary restarted cleanly: nothing is promoted', away, clean, keep],
  ['the secondary is away: stays', up, away, keep],
  ['the secondary came back unclean: it joins', up, unclean, joins(P, S)],
  ['the secondary rebooted uncleanly: it joins, and nothing is lost', up, rebooted, joins(P, S)],
  ['the primary came back unclean: the other copy is promoted', unclean, up, joins(S, P)],
  ['the primary rebooted uncleanly: the other copy has everything', rebooted, up, joins(S, P)],
  ['the primary unclean, the secondary after a clean stop: promoted', unclean, clean, joins(S, P)],
  [
    'both unclean on the same boot: the primary is the authority, nothing answered is lost',
    unclean,
    unclean,
    joins(P, S),
  ],
  ['the primary rebooted, the secondary did not: the secondary is better', rebooted, unclean, joins(S, P)],
  ['the secondary rebooted, the primary did not: the primary is better', unclean, rebooted, joins(P, S)],
  ['both rebooted: unsynced writes may be lost, and the record says so', rebooted, rebooted, joins(P, S, 8)],
  ['the primary unclean, the secondary away: waits', unclean, away, { kind: 'wait', unclean: [P] }],
  ['the same when the grace period is over: the primary is the authority', uncleanLate, away, leaves(P, S)],
  ['the same after a reboot: with loss', rebootedLate, away, leaves(P, S, 8)],
  ['the secondary unclean, the primary away: waits', away, unclean, { kind: 'wait', unclean: [S] }],
  ['the same for ever: the primary may be alive', away, rebootedLate, { kind: 'wait', unclean: [S] }],
  [
    'the secondary unclean, the primary convicted: waits within the grace period',
    gone,
    unclean,
    { kind: 'wait', unclean: [S] },
  ],
  ['the same when it is over: the secondary is the authority', gone, uncleanLate, leaves(S, P)],
  ['the same after a reboot: with loss', gone, rebootedLate, leaves(S, P, 8)],
]
for (const [name, primary, secondary, outcome] of cases)
  t.test(`slices, two copies in sync: ${name}`, async t => {
    t.same(run(pair, { P: primary, S: secondary }), outcome)
  })

const sole: SliceRecord = { ...alone, left: S }
const epoch8 = (record: SliceRecord, lossEpoch = 2) => ({ kind: 'change', record: { ...record, epoch: 8, lossEpoch } })
const single: [string, SliceRecord, Partial<Record<string, Standing>>, unknown][] = [
  ['alone and up: stays', alone, {}, keep],
  ['alone and away: stays', alone, { P: away }, keep],
  ['alone, clean restart: stays', alone, { P: clean }, keep],
  ['alone, unclean on the same boot: remains the authority, no loss', alone, { P: unclean }, epoch8(alone)],
  ['alone, unclean after a reboot: remains the authority, with loss', alone, { P: rebooted }, epoch8(alone, 8)],
  ['alone, unclean: does not wait for a joining copy', filling, { P: unclean, J: away }, epoch8(filling)],
  ['alone since another left, unclean: that one may still join by marks', sole, { P: unclean }, epoch8(sole)],
  ['joining copy restarts unclean: starts over', filling, { J: unclean }, epoch8(filling)],
  ['joining copy restarts cleanly: starts over all the same', filling, { J: clean }, epoch8(filling)],
  [
    'joining copy restarts while the primary is away: starts over, nothing is promoted',
    filling,
    { P: away, J: rebooted },
    epoch8(filling),
  ],
  ['joining copy away: stays', filling, { J: away }, keep],
  ['primary restarts cleanly while a copy joins: roles stand', filling, { P: clean }, keep],
  [
    'both restart unclean: the only copy in sync remains the authority',
    filling,
    { P: rebooted, J: rebooted },
    epoch8(filling, 8),
  ],
]
for (const [name, record, standings, outcome] of single)
  t.test(`slices, one copy in sync: ${name}`, async t => {
    t.same(run(record, standings), outcome)
  })

t.test('slices: a change goes above every epoch that a device of the pool may know', async t => {
  const outcome = run(pair, { S: unclean }, 40)
  t.match(outcome, { record: { epoch: 41 } })
  t.match(run(alone, { P: rebooted }, 40), { record: { epoch: 41, lossEpoch: 41 } })
})

t.test('slices, a move under way: the returning copy takes the place of the one that was joining', async t => {
  t.match(run({ ...pair, joining: J }, { S: unclean }), { record: { primary: P, secondary: null, joining: S } })
  t.match(run({ ...pair, joining: J }, { J: unclean }), { record: { primary: P, secondary: S, joining: J, epoch: 8 } })
})
