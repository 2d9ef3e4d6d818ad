import t from 'tap'
import type { DeviceId, PoolId } from '../../../../src/base/ids.js'
import {
  checkTransition,
  type LossFacts,
  lostRecords,
  rejoinRecords,
  withoutLost,
} from '../../../../src/core/slices/index.js'
import { type ClusterMap, emptyMap, type SliceRecord } from '../../../../src/model/index.js'

const [P, S, J, L] = ['P', 'S', 'J', 'L'] as DeviceId[] as [DeviceId, DeviceId, DeviceId, DeviceId]
const pool = 'pool' as PoolId
const pair: SliceRecord = { slice: 3, epoch: 7, primary: P, secondary: S, joining: null, lossEpoch: 2, left: null }
const move: SliceRecord = { ...pair, joining: J }
const sole: SliceRecord = { ...pair, secondary: null, left: L }
const filling: SliceRecord = { ...sole, joining: J }

/** Every device on an SDS of its own; `J` shares a fault set with `S` in `besideS`. */
function mapOf(besideS = false): ClusterMap {
  const map = emptyMap()
  for (const id of [P, S, J, L]) {
    const faultSetId = besideS && id === J ? 'fs-S' : `fs-${id}`
    map.tables.devices.set(id, { id, sdsId: `sds-${id}`, poolId: pool, state: 'ready' } as never)
    map.tables.sdss.set(`sds-${id}`, { id: `sds-${id}`, faultSetId } as never)
  }
  return map
}

const facts = (lost: DeviceId[], fields: Partial<LossFacts> = {}): LossFacts => ({
  map: mapOf(),
  epochHigh: new Map([[pool, 20]]),
  isLost: id => lost.includes(id),
  isUnsound: () => false,
  leavesBeside: () => false,
  canGoOn: id => !lost.includes(id),
  keepsMarks: () => true,
  ...fields,
})

const cases: [string, SliceRecord, DeviceId[], Partial<SliceRecord> | null][] = [
  ['nobody is lost: stays', pair, [], null],
  [
    'the primary is lost: the secondary is promoted, the primary has left',
    pair,
    [P],
    { primary: S, secondary: null, left: P },
  ],
  ['the secondary is lost: it has left', pair, [S], { primary: P, secondary: null, left: S }],
  ['both are lost: waits', pair, [P, S], null],
  ['the only copy in sync is lost: waits', sole, [P], null],
  ['the only one is lost while another joins: waits, nobody is promoted', filling, [P], null],
  ['the joining copy is lost: nobody joins, who left stays known', filling, [J], { joining: null, left: L }],
  [
    'a move, the primary is lost: the joining copy starts over beside the secondary',
    move,
    [P],
    { primary: S, secondary: null, left: P, joining: J },
  ],
  ['a move, the secondary is lost: the joining copy goes on', move, [S], { secondary: null, left: S, joining: J }],
  ['a move, the joining copy is lost: both others stay', move, [J], { secondary: S, joining: null, left: null }],
  ['a move, secondary and joining copy are lost', move, [S, J], { secondary: null, joining: null, left: S }],
  ['a move, primary and joining copy are lost', move, [P, J], { primary: S, secondary: null, joining: null, left: P }],
]
for (const [name, record, lost, outcome] of cases)
  t.test(`lost copies: ${name}`, async t => {
    const next = withoutLost(record, facts(lost))
    if (outcome === null) t.equal(next, null)
    else {
      t.match(next, { ...record, ...outcome })
      t.doesNotThrow(() => checkTransition(record, { ...next!, epoch: 21 }))
    }
  })

t.test('lost copies: the secondary of two that may differ leaves, and joins again by its marks', async t => {
  t.match(withoutLost(pair, facts([], { isUnsound: () => true })), { primary: P, secondary: null, left: S })
  t.equal(withoutLost(pair, facts([P], { isUnsound: () => true }))?.primary, S, 'better it than nobody')
  t.equal(withoutLost(sole, facts([], { isUnsound: () => true })), null)
})

t.test('lost copies: the other copy is not there, or its role is void: waits', async t => {
  t.equal(withoutLost(pair, facts([P], { canGoOn: () => false })), null)
  t.equal(withoutLost(pair, facts([S], { canGoOn: () => false })), null)
})

t.test('lost copies: a joining copy in the fault set of the one that is promoted cannot stay', async t => {
  const next = withoutLost(move, facts([P], { map: mapOf(true) }))
  t.match(next, { primary: S, secondary: null, joining: null, left: P })
})

t.test('lost copies: a device that failed keeps no marks: who joins gets everything', async t => {
  t.match(withoutLost(pair, facts([S], { keepsMarks: () => false })), { secondary: null, left: null })
})

t.test('parted copies: the loser leaves what it shares with the other, and nothing else', async t => {
  const loses = (loser: DeviceId, beside: DeviceId): Partial<LossFacts> => ({
    leavesBeside: (copy, other) => copy === loser && other === beside,
  })
  t.match(withoutLost(pair, facts([], loses(P, S))), { primary: S, secondary: null, left: P })
  t.match(withoutLost(pair, facts([], loses(S, P))), { primary: P, secondary: null, left: S })
  t.equal(withoutLost(pair, facts([], loses(P, L))), null)
  t.match(withoutLost(filling, facts([], loses(P, J))), { primary: P, joining: null }, 'the last in sync stays')
})

t.test('lost copies: one entry, each slice naming the epoch that it replaces and going above all so far', async t => {
  const map = mapOf()
  map.slices.set(pool, [pair, sole, filling])
  const [changes] = lostRecords(facts([P, J], { map }))
  t.same(
    changes!.changes.map(({ replaces, record }) => [replaces, record.epoch]),
    [[7, 21]],
  )
})

t.test('coming back: a copy that left joins, also in the place of another one that is still being filled', async t => {
  const map = mapOf()
  map.slices.set(pool, [pair, sole, filling, { ...sole, joining: L }, { ...sole, left: null }])
  const join = (mayJoin: boolean) => rejoinRecords({ map, epochHigh: new Map(), mayJoin: () => mayJoin })
  t.same(join(false), [])
  t.same(
    join(true)[0]!.changes.map(({ record }) => [record.joining, record.left, record.epoch]),
    [
      [L, L, 8],
      [L, L, 8],
    ],
  )
})

t.test('transitions: what nobody may commit', async t => {
  const bad: [string, SliceRecord, Partial<SliceRecord>][] = [
    ['the same epoch', pair, { epoch: 7 }],
    ['a joining copy in sync without a report', filling, { secondary: J, joining: null, left: null }],
    ['a joining copy as primary', filling, { primary: J, joining: null, left: null }],
    ['another one that left', sole, { left: J }],
    ['one that left beside two copies in sync', pair, { left: L }],
    ['marks kept after another copy took the place', pair, { secondary: null, left: L }],
    ['one copy twice', pair, { primary: S, secondary: S }],
    ['writes lost', pair, { lossEpoch: 8 }],
  ]
  for (const [name, old, fields] of bad)
    t.throws(() => checkTransition(old, { ...old, epoch: 8, ...fields }), { code: 'PLACEMENT' }, name)
  t.doesNotThrow(() => checkTransition(pair, { ...pair, epoch: 8, primary: S, secondary: P }), 'a swap')
})
