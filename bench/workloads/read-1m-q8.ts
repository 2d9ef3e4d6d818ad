import type { Workload } from '../runner/workload.js'

/** A stream of whole chunks, read. */
export const read1mQ8: Workload = {
  name: 'read-1m-q8',
  title: '1M read, depth 8',
  fio: ['--rw=read', '--bs=1M', '--iodepth=8'],
  figure: 'mbPerSec',
  goal: { toRaw: 0.9, limit: 1 },
}
