import type { Workload } from '../runner/workload.js'
import { randRead4kQ1 } from '../workloads/rand-read-4k-q1.js'
import { randRead4kQ16 } from '../workloads/rand-read-4k-q16.js'
import { randWrite4kQ16 } from '../workloads/rand-write-4k-q16.js'
import { read1mQ8 } from '../workloads/read-1m-q8.js'
import { seedMixed } from '../workloads/seed-mixed.js'
import { write1mQ8 } from '../workloads/write-1m-q8.js'

export const doorWorkloads: readonly Workload[] = [
  randRead4kQ16,
  randWrite4kQ16,
  randRead4kQ1,
  read1mQ8,
  write1mQ8,
  seedMixed,
]
