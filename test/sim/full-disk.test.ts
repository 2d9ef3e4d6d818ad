import t from 'tap'
import type { DeviceId } from '../../src/base/ids.js'
import { chunkBytes } from '../../src/base/units.js'
import { copiesOf } from '../../src/model/index.js'
import { Scene } from './scene.js'

t.setTimeout(120_000)

const block = (letter: string) => Buffer.alloc(4096, letter)

/** The first chunk of the volume whose copies the two SDSs have. */
function chunkOn({ cluster }: Scene, ...names: string[]): number {
  const { tables, slices } = cluster.map!
  const { sliceOffset } = [...tables.volumes.values()][0]!
  const records = [...slices.values()][0]!
  const sdsOf = (id: DeviceId) => tables.sdss.get(tables.devices.get(id)!.sdsId)!.name
  for (let chunk = 0; chunk < records.length; chunk++) {
    const copies = copiesOf(records[(sliceOffset + chunk) % records.length]!)
    if (names.every(name => copies.some(id => sdsOf(id) === name))) return chunk
  }
  throw new Error(`no slice has its copies on ${names.join(' and ')}`)
}

for (const [error, answer, what] of [
  ['ENOSPC', null, 'has no room for a write loses nothing that was answered before'],
  ['EIO', 'EIO', 'fails a write may have lost what was not flushed, and FLUSH says so'],
] as const)
  t.test(`the only copy in sync, whose disk ${what}`, async t => {
    const scene = await Scene.open()
    const { clock, cluster } = scene
    const { disks } = cluster.world.portsOfHost('sds-1')
    const device = [...cluster.map!.tables.devices.values()].find(({ path }) => disks.files.has(path))!
    const chunk = chunkOn(scene, 'sds-1', 'sds-2')
    const write = (letter: string) => scene.write(chunk * chunkBytes, block(letter))
    t.equal(await clock.finish(write('a')), null)
    cluster.kill('sds-2')
    await clock.runUntil(() => scene.copiesOn('sds-2') === 0, { withinMs: 20_000 })
    t.equal(await clock.finish(write('b')), null)

    // No master hears of it.
    const mdms = cluster.ofRole('mdm').map(({ name }) => name)
    for (const name of mdms) cluster.kill(name)
    disks.fail(device.path, { operation: 'write', error })
    const refused = write('c')
    await clock.runUntil(() => scene.deviceFailures.includes(error), { withinMs: 10_000, what: 'the device fails' })
    let isStopped = false
    cluster.stop('sds-1', () => {
      isStopped = true
    })
    await clock.runUntil(() => isStopped, { withinMs: 60_000 })
    disks.heal(device.path)
    for (const name of [...mdms, 'sds-1', 'sds-2']) cluster.start(name)
    await scene.healthy()

    t.equal(await clock.finish(refused, { withinMs: 60_000 }), 'EIO', 'there is no other copy to go on with')
    t.equal(await clock.finish(scene.flush(), { withinMs: 60_000 }), answer)
    const found = Buffer.alloc(4096)
    t.equal(await clock.finish(scene.read(chunk * chunkBytes, found)), null)
    t.ok(found.equals(block('b')))
  })
