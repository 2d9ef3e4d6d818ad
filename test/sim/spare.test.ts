import t from 'tap'
import { chunkBytes } from '../../src/base/units.js'
import { Scene } from './scene.js'

t.setTimeout(120_000)

/** Most of the pool is spare, so that few chunks make it full. */
const plan = { sdss: 4, faultSets: 4, sparePercent: 98, graceMs: 500 }
const block = (chunk: number) => Buffer.alloc(4096, `chunk ${chunk} `)

t.test('the spare: clients never get it, a rebuild uses it, and what comes back restores it', async t => {
  const scene = await Scene.open(plan)
  const { clock, cluster } = scene
  const write = (chunk: number) => clock.finish(scene.write(chunk * chunkBytes, block(chunk)))
  let full = 0
  while ((await write(full)) === null) full++
  t.ok(full > 8 && full < 200, `full with ${full} chunks`)
  t.equal(await write(full), 'ENOSPC')
  const slotsUsed = () => {
    let sum = 0
    for (const id of cluster.map!.tables.devices.keys()) sum += cluster.slotsUsed(id) ?? 0
    return sum
  }
  const counted = (slots: number) =>
    clock.runUntil(() => slotsUsed() === slots, { withinMs: 120_000, what: `${slots} slots are in use` })
  await counted(2 * full)
  const copiesBefore = scene.copiesOn('sds-1')

  cluster.kill('sds-1')
  await clock.runUntil(() => !scene.isHealthy, { withinMs: 10_000 })
  await scene.healthy()
  t.equal(scene.copiesOn('sds-1'), 0, 'two copies of everything again, on the others: in the spare')
  t.ok(scene.events.includes('rebuild'))
  t.equal(await write(full + 1), 'ENOSPC', 'which clients still do not get')
  for (let chunk = 0; chunk < full; chunk++) {
    const found = Buffer.alloc(4096)
    t.equal(await clock.finish(scene.read(chunk * chunkBytes, found)), null)
    t.ok(found.equals(block(chunk)))
  }

  cluster.start('sds-1')
  const isBack = () => scene.isHealthy && Math.abs(scene.copiesOn('sds-1') - copiesBefore) <= 1
  await clock.runUntil(isBack, { withinMs: 240_000, what: 'the returned SDS has its share again' })
  await counted(2 * full)
  t.equal(await clock.finish(scene.trim(0, chunkBytes)), null, 'a full pool gives up chunks')
  await counted(2 * full - 2)
  t.equal(await write(0), null, 'and takes them again')
})
