/** One run of fio against one target. */
export interface Measurement {
  workload: string
  target: string
  repetition: number
  iops: number
  mbPerSec: number
  latencyUsMean: number
  latencyUsP50: number
  latencyUsP99: number
  latencyUsP999: number
  /** Of the flushes, where there are any. */
  syncUsMean: number | null
  /** Seconds of CPU per thousand I/Os, by the role of the process; `fio` is the client. */
  cpuSecPerKio: Record<string, number>
  /** Resident memory at the end, by role: the largest process. */
  rssMiB: Record<string, number>
  /** For how long event loops were held up, in ms (p99.9), by role: the worst one. Empty where there are none. */
  loopMsP999: Record<string, number>
}
