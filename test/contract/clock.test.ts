import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { SimClock } from '../support/index.js'
import { clockContract } from './clock.js'

clockContract('system', () => ({ clock: systemClock, pass: ms => sleep(ms + 15) }))
clockContract('simulated', () => {
  const clock = new SimClock()
  return { clock, pass: ms => clock.runFor(ms) }
})

t.test('system: counts from the start of the host, suspend included', async t => {
  const uptimeMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 1000
  t.ok(Math.abs(systemClock.nowMs() - uptimeMs) < 1000)
})
