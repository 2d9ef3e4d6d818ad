import type { Workload } from '../runner/workload.js'

/** Small random reads with a queue. */
export const randRead4kQ16: Workload = {
  name: 'rand-read-4k-q16',
  title: '4k randread, depth 16',
  fio: ['--rw=randread', '--bs=4k', '--iodepth=16'],
  figure: 'iops',
  goal: { toRaw: 0.8, limit: 1 },
}
