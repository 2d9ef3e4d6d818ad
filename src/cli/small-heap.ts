import { performance } from 'node:perf_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Loading a program, and a first map, make much garbage at once, for which V8 doubles its young generation again and again,
 * up to 48 MB, and keeps it. So it may not grow, from before anything else is imported.
 */
setFlagsFromString('--semi-space-growth-factor=1')

const lookMs = 1_000
/** Shares of a second in which the event loop runs: real work, and as good as none. */
const busyShare = 0.2
const idleShare = 0.03
/** For so many seconds one after the other. */
const lastingSeconds = 5

/**
 * Keeps a daemon's heap as small as its work allows: what the start has left is collected once it is over, and under load the
 * young generation grows as V8 would have it, which saves collections.
 */
export function keepHeapSmall(): void {
  let busy = 0
  let idle = 0
  let before = performance.eventLoopUtilization()
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    busy = utilization > busyShare ? busy + 1 : 0
    idle = utilization < idleShare ? idle + 1 : 0
    if (idle === lastingSeconds) collect()
    if (busy === lastingSeconds) setFlagsFromString('--semi-space-growth-factor=2')
    if (idle >= lastingSeconds || busy >= lastingSeconds) clearInterval(timer)
  }, lookMs)
  timer.unref()
}

/** A few milliseconds, in which nobody waits. */
function collect(): void {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  // Whatever comes from now on is work.
  setFlagsFromString('--semi-space-growth-factor=2')
}
