import { type Mutation, plantMutation } from '../../src/base/mutation.js'
import { planOf } from './plan.js'
import { planted } from './planted.js'
import { Run, type RunResult } from './run.js'

/** One run of a seed, from beginning to end; with a planted bug, under the faults that touch its rule. */
export async function play(
  seed: number,
  { verbose = false, mutation = null }: { verbose?: boolean; mutation?: Mutation | null } = {},
): Promise<RunResult> {
  const focus = mutation === null ? {} : planted[mutation]?.focus
  plantMutation(mutation)
  try {
    return await new Run({ ...planOf(seed), ...focus }, { verbose }).play()
  } finally {
    plantMutation(null)
  }
}
