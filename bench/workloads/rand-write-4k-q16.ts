import type { Workload } from '../runner/workload.js'

/** Small random writes with a queue: what batching is for. */
export const randWrite4kQ16: Workload = {
  name: 'rand-write-4k-q16',
  title: '4k randwrite, depth 16',
  fio: ['--rw=randwrite', '--bs=4k', '--iodepth=16'],
  figure: 'iops',
  goal: { toRaw: 0.35, limit: 0.5 },
}
