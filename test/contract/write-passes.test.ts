import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileDisks } from '../../src/io/disk-port.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { writePasses } from '../../src/io/write-passes.js'
import { SimWorld } from '../support/index.js'
import { writePassesContract } from './write-passes.js'

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(1)
  }
}

writePassesContract('the addon', t => {
  // Not in memory: there is no direct I/O.
  const directory = t.testdir()
  return { link: tcpLink, disks: fileDisks, passes: writePasses, path: join(directory, 'disk'), isDirect: true, until }
})
writePassesContract('simulated', () => {
  const world = new SimWorld(5)
  const ports = world.portsOf('here')
  return {
    link: ports.link,
    disks: ports.disks,
    passes: ports.writePasses,
    path: '/disks/1',
    isDirect: false,
    until: predicate => world.clock.runUntil(predicate),
  }
})
