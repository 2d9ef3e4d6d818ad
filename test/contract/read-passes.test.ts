import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { KiB } from '../../src/base/units.js'
import { systemClock } from '../../src/io/clock.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readPasses } from '../../src/io/read-passes.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { SimWorld } from '../support/index.js'
import { readPassesContract } from './read-passes.js'

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(1)
  }
}

const real = (isDirect: boolean) => (t: Test) => ({
  clock: systemClock,
  link: tcpLink,
  disks: fileDisks,
  passes: readPasses,
  // Not in memory: there is no direct I/O.
  path: join(t.testdir(), 'disk'),
  isDirect,
  until,
  pause: () => sleep(50),
})
readPassesContract('the addon, direct', real(true))
readPassesContract('the addon, page cache', real(false))
readPassesContract('simulated', () => {
  const world = new SimWorld(5)
  const ports = world.portsOf('here')
  return {
    clock: ports.clock,
    link: ports.link,
    disks: ports.disks,
    passes: ports.readPasses,
    path: '/disks/1',
    isDirect: false,
    until: predicate => world.clock.runUntil(predicate),
    pause: () => world.clock.runFor(50),
  }
})

// From here on, in all of this process: not all of a chunk has room.
t.test('the read cache starts once', async t => {
  readPasses.keepInMemory(512 * KiB)
  t.throws(() => readPasses.keepInMemory(512 * KiB), /has started already/)
  t.equal(readPasses.fromMemory.ios, 0)
})
readPassesContract('the addon, direct, with a read cache', real(true))
t.test('the read cache has answered', async t => {
  t.ok(readPasses.fromMemory.ios > 0 && readPasses.fromMemory.ios < readPasses.total.ios)
})
