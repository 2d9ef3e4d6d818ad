import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { MetricSample } from '../ports/daemon.js'

/**
 * How often the loop is looked at; a look that comes later than that was held up. Each look wakes the process: every 10 ms,
 * that was most of what an idle daemon did.
 */
const everyMs = 20

/** Measures for how long the event loop is held up: by code, by collections of garbage, or because others had the cores. */
export class LoopDelay {
  readonly #delays = monitorEventLoopDelay({ resolution: everyMs })

  constructor() {
    this.#delays.enable()
  }

  /** What was measured since this was called last. */
  samples(): MetricSample[] {
    const delayMs = (nsec: number) => Math.max(0, nsec / 1e6 - everyMs)
    const since = this.#delays.count > 0
    const p999Ms = since ? delayMs(this.#delays.percentile(99.9)) : 0
    const maxMs = since ? delayMs(this.#delays.max) : 0
    this.#delays.reset()
    const help = 'How long the event loop was held up since the last look at this page, in milliseconds'
    return [
      { name: 'blockmesh_event_loop_delay_p999_ms', help: `${help}: 99.9th percentile`, kind: 'gauge', value: p999Ms },
      { name: 'blockmesh_event_loop_delay_max_ms', help: `${help}: longest`, kind: 'gauge', value: maxMs },
    ]
  }

  close(): void {
    this.#delays.disable()
  }
}
