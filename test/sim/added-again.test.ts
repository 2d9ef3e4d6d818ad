import t from 'tap'
import { chunkBytes } from '../../src/base/units.js'
import { domainName, poolName, sdsAt } from './cluster.js'
import { Scene } from './scene.js'

t.setTimeout(120_000)

t.test('an SDS that is removed and added again, without a restart, leads and fills like any other', async t => {
  const scene = await Scene.open({ sdss: 4, faultSets: 4, mdms: 1, spareMdms: 0, hasConfigLoad: false })
  const { clock, cluster } = scene
  const ask = <T>(promise: Promise<T>) => clock.finish(promise, { withinMs: 60_000, what: 'the MDM answers' })
  const writeAll = async (letter: string) => {
    for (let chunk = 0; chunk < 32; chunk++)
      t.equal(await clock.finish(scene.write(chunk * chunkBytes, Buffer.alloc(4096, letter))), null)
  }
  const isThere = () => [...cluster.map!.tables.sdss.values()].some(({ name }) => name === 'sds-1')
  await writeAll('a')

  await ask(cluster.tool.request('removeSds', { sds: 'sds-1' }))
  await clock.runUntil(() => !isThere(), { withinMs: 120_000, what: 'sds-1 is drained and removed' })
  await writeAll('b')
  const sds = { protectionDomain: domainName, faultSet: 'fs-1', name: 'sds-1', endpoint: sdsAt(1) }
  await ask(cluster.tool.request('addSds', sds))
  await scene.run(500)
  const device = { sds: 'sds-1', pool: poolName, path: '/disks/11', sizeBytes: cluster.deviceBytes }
  await ask(cluster.tool.request('addDevice', device))
  const hasItsShare = () => scene.isHealthy && scene.copiesOn('sds-1') >= 8 && scene.leads('sds-1') >= 4
  await clock.runUntil(hasItsShare, { withinMs: 120_000, what: 'sds-1 has its share, and leads' })
  await writeAll('c')

  // Its copies fall behind on the others, and it is the one that fills them.
  cluster.kill('sds-3')
  await clock.runUntil(() => !scene.isHealthy, { withinMs: 20_000 })
  await writeAll('d')
  cluster.start('sds-3')
  await scene.healthy()
  const taken = scene.refusals.filter(reason => reason.includes('a newer session is known'))
  t.same(taken, [], 'a session is newer than all before it, whoever it was with meanwhile')
  for (let chunk = 0; chunk < 32; chunk++) {
    const found = Buffer.alloc(4096)
    t.equal(await clock.finish(scene.read(chunk * chunkBytes, found)), null)
    t.ok(found.equals(Buffer.alloc(4096, 'd')))
  }
})

t.test('an SDC that is removed while it is cut off registers anew, and works under its new id', async t => {
  const scene = await Scene.open({ mdms: 1, spareMdms: 0, hasConfigLoad: false })
  const { clock, cluster } = scene
  const { tool, world } = cluster
  const ask = <T>(promise: Promise<T>) => clock.finish(promise, { withinMs: 60_000, what: 'the MDM answers' })
  const idOf = () => [...cluster.map!.tables.sdcs.values()].find(({ name }) => name === 'sdc-1')?.id
  const write = () => clock.finish(scene.write(0, Buffer.alloc(4096, 'a')), { withinMs: 60_000 })
  const before = idOf()!
  t.equal(await write(), null)

  world.network.cut('sdc-1', 'mdm-1')
  world.network.drop('sdc-1', 'mdm-1')
  await clock.runUntil(() => !cluster.master!.daemon.mdm!.registry.sdc(before), {
    withinMs: 60_000,
    what: 'it is cut off',
  })
  await ask(tool.request('unmapVolume', { volume: 'vol1', sdc: before, force: true }))
  await ask(tool.request('removeSdc', { sdc: before }))
  world.network.heal()
  await clock.runUntil(() => idOf() !== undefined, { withinMs: 60_000, what: 'it has registered again' })
  t.not(idOf(), before)
  await ask(tool.request('mapVolume', { volume: 'vol1', sdc: idOf()! }))
  await clock.runUntil(() => cluster.exportOf('sdc-1', 'vol1') !== undefined, { withinMs: 10_000, what: 'the export' })
  t.equal(await write(), null)
})
