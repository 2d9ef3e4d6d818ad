import { randRead4kQ1 } from './rand-read-4k-q1.js'
import { randRead4kQ16 } from './rand-read-4k-q16.js'
import { randWrite4kQ1 } from './rand-write-4k-q1.js'
import { randWrite4kQ1Fsync1 } from './rand-write-4k-q1-fsync1.js'
import { randWrite4kQ16 } from './rand-write-4k-q16.js'
import { randWrite4kQ16Fsync32 } from './rand-write-4k-q16-fsync32.js'
import { read1mQ8 } from './read-1m-q8.js'
import { seedMixed } from './seed-mixed.js'
import { write1mQ8 } from './write-1m-q8.js'

/** In the order of the table of goals. */
export const workloads = [
  seedMixed,
  randWrite4kQ16,
  randWrite4kQ1,
  randRead4kQ16,
  randRead4kQ1,
  randWrite4kQ16Fsync32,
  randWrite4kQ1Fsync1,
  write1mQ8,
  read1mQ8,
]
