import t from 'tap'
import { playSeed } from './play.js'

const seedGiven = process.env.STORE_SEED
const seedCount = Number(process.env.STORE_SEEDS ?? 60)
const seeds = seedGiven ? [Number(seedGiven)] : Array.from({ length: seedCount }, (_, at) => at + 1)

t.test(
  'after any crash a chunk reads as its own data or zeroes, synced data stay, no slot is owned twice, and what may have changed is marked',
  async t => {
    const total: Record<string, number> = {}
    for (const seed of seeds) {
      const { wrong, seen } = await playSeed(seed)
      if (wrong !== null) t.fail(`STORE_SEED=${seed}: ${wrong}`)
      for (const [what, times] of Object.entries(seen)) total[what] = (total[what] ?? 0) + times
    }
    if (!seedGiven)
      for (const [what, times] of Object.entries(total)) t.ok(times > 10, `${what} happened, ${times} times`)
  },
)
