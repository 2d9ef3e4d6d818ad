import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
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

for (const isDirect of [true, false])
  readPassesContract(isDirect ? 'the addon, direct' : 'the addon, page cache', t => {
    // Not in memory: there is no direct I/O.
    const directory = t.testdir()
    return {
      clock: systemClock,
      link: tcpLink,
      disks: fileDisks,
      passes: readPasses,
      path: join(directory, 'disk'),
      isDirect,
      until,
      pause: () => sleep(50),
    }
  })
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
