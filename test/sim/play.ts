import { type Mutation, plantMutation } from '../../src/base/mutation.js'
import { planOf } from './plan.js'
import { Run, type RunResult } from './run.js'

/** One run of a seed, from beginning to end. */
export async function play(
  seed: number,
  { verbose = false, mutation = null }: { verbose?: boolean; mutation?: Mutation | null } = {},
): Promise<RunResult> {
  plantMutation(mutation)
  try {
    return await new Run(planOf(seed), { verbose }).play()
  } finally {
    plantMutation(null)
  }
}
