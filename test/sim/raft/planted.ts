import type { Mutation } from '../../../src/base/mutation.js'
import type { RaftPlan } from './plan.js'

/** A planted bug of the consensus, what makes a run likely to meet it, and the seeds within which it must be found. */
export interface PlantedRaft {
  focus: Partial<RaftPlan>
  seedsMax: number
}

export const planted: { [M in Mutation]?: PlantedRaft } = {
  'raft-commit-an-older-term': { focus: {}, seedsMax: 400 },
  'raft-forget-the-vote': { focus: {}, seedsMax: 400 },
  'raft-vote-twice': { focus: {}, seedsMax: 400 },
  'raft-skip-the-sync': { focus: {}, seedsMax: 400 },
  'raft-vote-without-looking-at-the-log': { focus: {}, seedsMax: 400 },
  'raft-witness-votes-blindly': { focus: {}, seedsMax: 400 },
  'raft-offer-the-witness-first': { focus: {}, seedsMax: 400 },
  'raft-offer-without-a-round': { focus: {}, seedsMax: 400 },
  'raft-mark-goes-back': { focus: {}, seedsMax: 400 },
  'raft-forget-the-mark': { focus: {}, seedsMax: 400 },
  'raft-wiped-member-keeps-its-identity': { focus: {}, seedsMax: 400 },
  'raft-change-members-before-the-own-term': { focus: {}, seedsMax: 400 },
  'raft-change-members-twice-at-once': { focus: {}, seedsMax: 400 },
  'raft-count-learners': { focus: {}, seedsMax: 400 },
  'raft-count-a-leaving-leader': { focus: {}, seedsMax: 400 },
  'raft-commit-by-witnesses-alone': { focus: {}, seedsMax: 400 },
  'raft-count-the-own-unsynced-write': { focus: {}, seedsMax: 400 },
  'raft-believe-an-overtaken-write': { focus: {}, seedsMax: 400 },
  'raft-append-without-looking': { focus: {}, seedsMax: 400 },
  'raft-replace-what-is-the-same': { focus: {}, seedsMax: 400 },
  'raft-acknowledge-the-whole-log': { focus: {}, seedsMax: 400 },
  'raft-commit-what-may-differ': { focus: {}, seedsMax: 400 },
  'raft-read-without-a-round': { focus: {}, seedsMax: 400 },
  'raft-read-before-the-own-term': { focus: {}, seedsMax: 400 },
  'raft-take-an-old-answer-for-a-read': { focus: {}, seedsMax: 400 },
}
