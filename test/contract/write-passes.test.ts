import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { KiB } from '../../src/base/units.js'
import { systemClock } from '../../src/io/clock.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readPasses } from '../../src/io/read-passes.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { writePasses } from '../../src/io/write-passes.js'
import { SimWorld } from '../support/index.js'
import { primaryPassesContract } from './primary-passes.js'
import { type WritePassesSetUp, writePassesContract } from './write-passes.js'

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(1)
  }
}

const real = (t: Test, isDirect = true): WritePassesSetUp => ({
  clock: systemClock,
  link: tcpLink,
  disks: fileDisks,
  passes: writePasses,
  newDeadline: readPasses.newDeadline,
  // Not in memory: there is no direct I/O.
  path: join(t.testdir(), 'disk'),
  isDirect,
  readsTakeTime: isDirect,
  sectorBytes: 512,
  until,
})
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
  contract('the addon', real)
  contract('the addon, through the page cache', t => real(t, false))
  contract('simulated', simulated)
}
// From here on, in all of this process: not all of a chunk has room.
t.test('there is a read cache', async () => readPasses.keepInMemory(512 * KiB))
for (const contract of [writePassesContract, primaryPassesContract]) contract('the addon, with a read cache', real)
t.test('the read cache has answered', async t => {
  t.ok(readPasses.fromMemory.ios > 0)
})
