import type { Workload } from '../runner/workload.js'

/** One small write at a time: the latency of two copies. */
export const randWrite4kQ1: Workload = {
  name: 'rand-write-4k-q1',
  title: '4k randwrite, depth 1',
  fio: ['--rw=randwrite', '--bs=4k', '--iodepth=1'],
  figure: 'iops',
  goal: { toRaw: 0.3, limit: null },
}
