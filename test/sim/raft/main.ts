import { parseArgs } from 'node:util'
import { type Mutation, plantMutation } from '../../../src/base/mutation.js'
import { RaftRun } from './run.js'

/**
 * node dist/test/sim/raft/main.js --seed N [--verbose]    plays one seed
 * node dist/test/sim/raft/main.js --seeds A..B            plays these seeds      [--mutation NAME]
 */
const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '1..1000' },
    mutation: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
})
if (values.mutation !== undefined) plantMutation(values.mutation as Mutation)

if (values.seed !== undefined) {
  const { plan, failure, lines, acknowledged, read } = new RaftRun(Number(values.seed), {
    isVerbose: values.verbose,
  }).play()
  for (const line of lines) console.log(line)
  console.log(JSON.stringify(plan))
  console.log(`${acknowledged} changes acknowledged, ${read} reads; ${failure ? failure.stack : 'as promised'}`)
  process.exitCode = failure ? 1 : 0
} else {
  const [first = 1, last = 1] = values.seeds.split('..').map(Number)
  const beganMs = Date.now()
  const sums = { runs: 0, failed: 0, acknowledged: 0, read: 0 }
  for (let seed = first; seed <= last; seed++) {
    const { failure, acknowledged, read } = new RaftRun(seed).play()
    sums.runs++
    sums.acknowledged += acknowledged
    sums.read += read
    if (!failure) continue
    sums.failed++
    console.log(`seed ${seed}: ${failure.message.slice(0, 300)}`)
  }
  console.log({ ...sums, seconds: Math.round((Date.now() - beganMs) / 100) / 10 })
  process.exitCode = sums.failed > 0 ? 1 : 0
}
