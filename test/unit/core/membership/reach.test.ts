import t from 'tap'
import type { SdcId, SdsId } from '../../../../src/base/ids.js'
import { leadsBetter, outOfReach, reachMsMax, type SdcReach } from '../../../../src/core/membership/index.js'

const [P, S, Q] = ['p', 's', 'q'] as SdsId[] as [SdsId, SdsId, SdsId]
const [one, two, three] = ['1', '2', '3'] as SdcId[] as [SdcId, SdcId, SdcId]
const roles = { primary: P, secondary: S }

const says = (unreachable: SdsId[], reached: SdsId[], atMs = 1_000): SdcReach => ({
  atMs,
  unreachable: new Set(unreachable),
  reached: new Set(reached),
})

t.test('reach: an SDC that reaches the secondary alone is better served by it', async t => {
  const reaches = new Map([[one, says([P], [S])]])
  t.ok(leadsBetter(reaches, [one], roles, 1_100))
  t.same(outOfReach(reaches, [one], 1_100), new Set([P]))
  t.notOk(leadsBetter(reaches, [one], { primary: Q, secondary: S }, 1_100), 'another primary is none of its business')
  t.notOk(leadsBetter(reaches, [two], roles, 1_100), 'nor is a pool that it does not use')
})

t.test('reach: nothing is gained where the secondary is not known to answer', async t => {
  t.notOk(leadsBetter(new Map([[one, says([P], [])]]), [one], roles, 1_000))
  t.notOk(leadsBetter(new Map([[one, says([P, S], [Q])]]), [one], roles, 1_000))
})

t.test('reach: two SDCs that each reach another copy leave the role where it is; a third one decides', async t => {
  const reaches = new Map([
    [one, says([P], [S])],
    [two, says([S], [P])],
  ])
  t.notOk(leadsBetter(reaches, [one, two], roles, 1_000))
  t.notOk(leadsBetter(reaches, [one, two], { primary: S, secondary: P }, 1_000))
  reaches.set(three, says([P], [S]))
  t.ok(leadsBetter(reaches, [one, two, three], roles, 1_000))
})

t.test('reach: what was said a while ago is past', async t => {
  const reaches = new Map([[one, says([P], [S])]])
  t.ok(leadsBetter(reaches, [one], roles, 999 + reachMsMax))
  t.notOk(leadsBetter(reaches, [one], roles, 1_000 + reachMsMax))
  t.same(outOfReach(reaches, [one], 1_000 + reachMsMax), new Set())
})
