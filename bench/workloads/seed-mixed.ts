import type { Workload } from '../runner/workload.js'

/** The workload that the original was judged by: two block sizes, a little more writing than reading. */
export const seedMixed: Workload = {
  name: 'seed-mixed',
  title: '64k,32k randrw 45% read, depth 16',
  fio: ['--rw=randrw', '--rwmixread=45', '--bs=64k,32k', '--iodepth=16'],
  figure: 'iops',
  goal: { toRaw: 0.5, limit: 0.65 },
}
