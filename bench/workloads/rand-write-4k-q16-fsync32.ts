import type { Workload } from '../runner/workload.js'

/** Small random writes with a flush now and then, as a database with a group commit. */
export const randWrite4kQ16Fsync32: Workload = {
  name: 'rand-write-4k-q16-fsync32',
  title: '4k randwrite, depth 16, fsync every 32',
  fio: ['--rw=randwrite', '--bs=4k', '--iodepth=16', '--fsync=32'],
  figure: 'iops',
  goal: { toRaw: 0.19, limit: null },
}
