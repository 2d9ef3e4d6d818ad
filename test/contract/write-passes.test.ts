import t from 'tap'
import { KiB } from '../../src/base/units.js'
import { readPasses } from '../../src/io/read-passes.js'
import { SimWorld } from '../support/index.js'
import { primaryPassesContract } from './primary-passes.js'
import { realPasses } from './real-passes.js'
import { type WritePassesSetUp, writePassesContract } from './write-passes.js'

const simulated = (): WritePassesSetUp => {
  const world = new SimWorld(5)
  const ports = world.portsOf('here')
  return {
    clock: ports.clock,
    link: ports.link,
    disks: ports.disks,
    passes: ports.writePasses,
    newDeadline: ports.readPasses.newDeadline,
    path: '/disks/1',
    isDirect: false,
    readsTakeTime: true,
    sectorBytes: 4096,
    until: predicate => world.clock.runUntil(predicate),
  }
}
for (const contract of [writePassesContract, primaryPassesContract]) {
  contract('the addon', realPasses)
  contract('the addon, through the page cache', t => realPasses(t, false))
  contract('simulated', simulated)
}
// From here on, in all of this process: not all of a chunk has room.
t.test('there is a read cache', async () => readPasses.keepInMemory(512 * KiB))
for (const contract of [writePassesContract, primaryPassesContract])
  contract('the addon, with a read cache', realPasses)
t.test('the read cache has answered', async t => {
  t.ok(readPasses.fromMemory.ios > 0)
})
