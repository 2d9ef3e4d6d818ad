import type { Workload } from '../runner/workload.js'

/** One small read at a time: the latency of one copy. */
export const randRead4kQ1: Workload = {
  name: 'rand-read-4k-q1',
  title: '4k randread, depth 1',
  fio: ['--rw=randread', '--bs=4k', '--iodepth=1'],
  figure: 'iops',
  goal: { toRaw: 0.55, limit: null },
}
