import type { Workload } from '../runner/workload.js'

/** A stream of whole chunks. */
export const write1mQ8: Workload = {
  name: 'write-1m-q8',
  title: '1M write, depth 8',
  fio: ['--rw=write', '--bs=1M', '--iodepth=8'],
  figure: 'mbPerSec',
  goal: { toRaw: 0.4, limit: 0.5 },
}
