import { type Mutation, plantMutation } from '../../src/base/mutation.js'
import { planOf, shortened } from './plan.js'
import { planted } from './planted.js'
import { Run, type RunResult } from './run.js'

export interface PlayOptions {
  verbose?: boolean
  mutation?: Mutation | null
  isWhole?: boolean | undefined
}

/**
 * One run of a seed, from beginning to end; with a planted bug, under the faults that touch its rule. `isWhole`: a long one,
 * even if the seed says that it is short.
 */
export async function play(
  seed: number,
  { verbose = false, mutation = null, isWhole = mutation !== null }: PlayOptions = {},
): Promise<RunResult> {
  const plan = isWhole ? planOf(seed) : shortened(planOf(seed))
  const focus = mutation === null ? {} : planted[mutation]?.focus
  plantMutation(mutation)
  try {
    return await new Run({ ...plan, ...focus }, { verbose }).play()
  } finally {
    plantMutation(null)
  }
}
