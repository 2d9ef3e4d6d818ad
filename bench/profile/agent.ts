/**
 * Loaded into each daemon with `--import`. On SIGUSR2 it profiles until the next SIGUSR2, and then writes what it found, and
 * how long the event loop was held up, to $BENCH_PROFILE_DIR.
 */
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'

const intervalUs = 200
const session = new Session()
const delays = monitorEventLoopDelay({ resolution: 1 })
let isOn = false

process.on('SIGUSR2', () => {
  isOn = !isOn
  if (isOn) start()
  else finish()
})

function start(): void {
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.setSamplingInterval', { interval: intervalUs })
  session.post('Profiler.start')
  delays.reset()
  delays.enable()
}

function finish(): void {
  delays.disable()
  session.post('Profiler.stop', (error, answer) => {
    if (error !== null) return
    const loopMsP999 = delays.percentile(99.9) / 1e6
    const path = join(process.env.BENCH_PROFILE_DIR!, `${process.pid}.cpuprofile`)
    writeFileSync(path, JSON.stringify({ ...answer.profile, loopMsP999, loopMsMax: delays.max / 1e6 }))
    session.disconnect()
  })
}
