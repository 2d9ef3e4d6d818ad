import { parseArgs } from 'node:util'
import { type Mutation, mutations } from '../../src/base/mutation.js'
import { campaign } from './campaign.js'
import { play } from './play.js'
import { Situations } from './situations.js'
import type { RunReport } from './worker.js'

const usage = `npm run sim -- --seed N [--verbose]     plays one seed and prints what happened
npm run sim -- --seeds A..B             plays these seeds
npm run sim -- --minutes M [--from S]   plays new seeds for so long, and fails if a situation was never reached
          --workers 2   --whole (no short stories)   --mutation NAME (plants a bug; see src/base/mutation.ts)`

/** After so many seeds every situation that is expected has to have been reached. */
const situationsAfterSeeds = 2_000

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string' },
    minutes: { type: 'string' },
    from: { type: 'string' },
    workers: { type: 'string', default: '2' },
    mutation: { type: 'string' },
    whole: { type: 'boolean' },
    verbose: { type: 'boolean', default: false },
  },
})
const mutation = (values.mutation ?? null) as Mutation | null
if (mutation !== null && !mutations.includes(mutation)) fail(`unknown mutation; there are ${mutations.join(', ')}`)

if (values.seed !== undefined) await one(Number(values.seed))
else if (values.seeds !== undefined) {
  const [first, last] = values.seeds.split('..').map(Number)
  if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last)) fail(usage)
  await many(first!, seed => seed <= last!)
} else if (values.minutes !== undefined) {
  const endMs = Date.now() + Number(values.minutes) * 60_000
  await many(Number(values.from ?? (Date.now() % 1_000_000) * 1000), () => Date.now() < endMs)
} else fail(usage)

function fail(sentence: string): never {
  console.error(sentence)
  process.exit(64)
}

async function one(seed: number): Promise<void> {
  const result = await play(seed, { verbose: values.verbose, mutation, isWhole: values.whole })
  for (const line of result.lines) console.log(line)
  console.log(`\nseed ${seed}: ${result.failure === null ? 'as promised' : result.failure.stack}`)
  console.log(`hash ${result.hash}, ${result.acknowledged} changes acknowledged, ${result.checked} reads checked`)
  process.exit(result.failure === null ? 0 : 1)
}

async function many(first: number, isWanted: (seed: number) => boolean): Promise<void> {
  const situations = new Situations()
  const failed: RunReport[] = []
  const beganMs = Date.now()
  let seed = first
  const sums = { runs: 0, acknowledged: 0, checked: 0, struck: 0, virtualMs: 0 }
  await campaign({
    workers: Number(values.workers),
    mutation,
    isWhole: values.whole,
    next: () => (isWanted(seed) ? seed++ : null),
    onReport: report => {
      sums.runs++
      sums.acknowledged += report.acknowledged
      sums.checked += report.checked
      sums.struck += report.struck
      sums.virtualMs += report.virtualMs
      situations.add(report.situations)
      if (report.failure === null) return
      failed.push(report)
      console.log(`seed ${report.seed} FAILED: ${report.failure.slice(0, 500)}`)
    },
  })
  const minutes = (Date.now() - beganMs) / 60_000
  console.log(`\nseeds ${first}..${seed - 1}: ${sums.runs} runs, ${Math.round(sums.runs / minutes)} a minute`)
  console.log(`${sums.acknowledged} changes acknowledged, ${sums.checked} reads checked, ${sums.struck} faults`)
  console.log(`${Math.round(sums.virtualMs / 60_000)} virtual minutes\n\nsituations reached\n${situations.table()}\n`)
  const missing = sums.runs >= situationsAfterSeeds ? situations.missing : []
  if (missing.length > 0) console.log(`never reached: ${missing.join(', ')}`)
  console.log(
    failed.length === 0 ? 'no violation' : `${failed.length} seeds failed: ${failed.map(f => f.seed).join(' ')}`,
  )
  process.exit(failed.length > 0 || missing.length > 0 ? 1 : 0)
}
