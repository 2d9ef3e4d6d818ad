import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { KiB } from '../../src/base/units.js'
import { systemClock } from '../../src/io/clock.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readPasses } from '../../src/io/read-passes.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { SimWorld } from '../support/index.js'
import { preloadedLibrary } from '../support/preloaded.js'
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
t.test('after a sync that has failed nothing comes from memory that was there before', async t => {
  const library = await preloadedLibrary('failing-syncs', t.testdir())
  if (library === null) {
    t.comment('no compiler: not tried')
    return
  }
  const program = fileURLToPath(new URL('failed-sync.js', import.meta.url))
  const env = { ...process.env, LD_PRELOAD: library }
  const output = execFileSync(process.execPath, [program, join(t.testdirName, 'disk')], { env, timeout: 30_000 })
  t.same(JSON.parse(String(output)), { answers: 4, fromMemory: [0, 1, 1, 2], syncError: 'EBADF' })
})
