import t from 'tap'
import { MapRing } from '../../../../src/core/sds/index.js'

const delta = (version: number) => ({ version, changes: [] })

t.test('map ring: hands over what a peer lacks, in log order, or nothing if it no longer knows', async t => {
  const ring = new MapRing()
  ring.reset(10)
  for (let version = 11; version <= 20; version++) ring.add(delta(version))
  t.same(
    ring.since(17).map(({ version }) => version),
    [18, 19, 20],
  )
  t.same(ring.since(20), [])
  t.equal(ring.since(10).length, 10)
  t.same(ring.since(9), [], 'a gap is never handed over')
})

t.test('map ring: is bounded', async t => {
  const ring = new MapRing()
  for (let version = 1; version <= 10_000; version++) ring.add(delta(version))
  t.same(ring.since(1), [])
  t.equal(ring.since(9_999).length, 1)
  t.ok(ring.since(9_600).length > 0)
})
