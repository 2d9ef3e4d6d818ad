import type { Workload } from '../runner/workload.js'

/** Each small write made durable before the next one, as a log does. */
export const randWrite4kQ1Fsync1: Workload = {
  name: 'rand-write-4k-q1-fsync1',
  title: '4k randwrite, depth 1, fsync after each',
  fio: ['--rw=randwrite', '--bs=4k', '--iodepth=1', '--fsync=1'],
  figure: 'iops',
  goal: null,
}
