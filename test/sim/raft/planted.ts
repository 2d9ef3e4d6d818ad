import type { Mutation } from '../../../src/base/mutation.js'
import type { RaftPlan } from './plan.js'

/** A planted bug of the consensus, what makes a run likely to meet it, and the seeds within which it must be found. */
export interface PlantedRaft {
  focus: Partial<RaftPlan>
  seedsMax: number
}

export const planted: { [M in Mutation]?: PlantedRaft } = {
  'raft-commit-an-older-term': { focus: {}, seedsMax: 400 },
}
