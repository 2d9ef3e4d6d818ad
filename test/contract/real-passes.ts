import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readPasses } from '../../src/io/read-passes.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { writePasses } from '../../src/io/write-passes.js'
import type { WritePassesSetUp } from './write-passes.js'

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(1)
  }
}

/** The addon, with a file and sockets. */
export const realPasses = (t: Test, isDirect = true): WritePassesSetUp => ({
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
