import type { Mutation } from '../../../src/base/mutation.js'
import type { RaftPlan } from './plan.js'

/** A planted bug of the consensus, what makes a run likely to meet it, and the seeds within which it must be found. */
export interface PlantedRaft {
  focus: Partial<RaftPlan>
  seedsMax: number
}

const calm: Partial<RaftPlan> = {
  lossPercent: 0,
  duplicatePercent: 0,
  isOneAtATime: false,
  changes: [],
  leaderLife: null,
  faultTime: 2_000,
}
const crashes: Partial<RaftPlan> = {
  ...calm,
  faults: ['crash', 'blink', 'crash-all', 'isolate', 'heal'],
  faultEvery: 60,
}
/** Leaders that leave entries behind which nobody else has (dissertation, figure 3.7). */
const brief: Partial<RaftPlan> = {
  ...calm,
  shape: '3',
  faults: [],
  leaderLife: 300,
  entriesPerAppendMax: 1,
  proposeEvery: 40,
  readEvery: 100,
  trailingMax: null,
  faultTime: 3_000,
}
const witnessed: Partial<RaftPlan> = { ...crashes, shape: '2+1' }
const oneAtATime: Partial<RaftPlan> = { ...calm, shape: '2+1', isOneAtATime: true, proposeEvery: 5 }
const changing: Partial<RaftPlan> = {
  ...crashes,
  changes: ['grow', 'shrink', 'demote'],
  changeEvery: 60,
  faults: ['crash', 'blink', 'split', 'isolate', 'heal', 'transfer'],
}

export const planted: { [M in Mutation]?: PlantedRaft } = {
  'raft-commit-an-older-term': { focus: { ...brief, lossPercent: 10, delayMax: 30, syncMax: 60 }, seedsMax: 400 },
  'raft-forget-the-vote': {
    focus: { ...crashes, shape: '3', faults: ['rivals'], faultEvery: 200, delayMax: 80, duplicatePercent: 20 },
    seedsMax: 200,
  },
  'raft-vote-twice': { focus: {}, seedsMax: 50 },
  'raft-skip-the-sync': { focus: { ...crashes }, seedsMax: 50 },
  'raft-vote-without-looking-at-the-log': { focus: {}, seedsMax: 50 },
  'raft-witness-votes-blindly': { focus: witnessed, seedsMax: 50 },
  'raft-offer-the-witness-first': { focus: oneAtATime, seedsMax: 50 },
  'raft-offer-without-a-round': { focus: oneAtATime, seedsMax: 100 },
  'raft-mark-goes-back': {
    focus: {
      ...calm,
      shape: '2+1',
      faults: ['crash-all', 'cut', 'pause', 'slow-disk', 'drift'],
      leaderLife: 400,
      lossPercent: 10,
      duplicatePercent: 20,
      delayMax: 80,
      syncMax: 1,
      proposeEvery: 15,
      entriesPerAppendMax: 1,
      faultTime: 3_000,
    },
    seedsMax: 400,
  },
  'raft-forget-the-mark': { focus: witnessed, seedsMax: 100 },
  'raft-wiped-member-keeps-its-identity': { focus: { changes: ['replace'] }, seedsMax: 50 },
  'raft-change-members-before-the-own-term': { focus: changing, seedsMax: 400 },
  'raft-change-members-twice-at-once': { focus: changing, seedsMax: 400 },
  'raft-count-learners': { focus: changing, seedsMax: 50 },
  'raft-count-the-own-unsynced-write': {
    focus: { ...crashes, shape: '2+1', faults: ['blink', 'slow-disk', 'isolate', 'crash', 'heal'] },
    seedsMax: 100,
  },
  'raft-append-without-looking': { focus: crashes, seedsMax: 50 },
  'raft-replace-what-is-the-same': { focus: { ...crashes, delayMax: 80, duplicatePercent: 20 }, seedsMax: 100 },
  'raft-commit-what-may-differ': { focus: crashes, seedsMax: 50 },
  'raft-read-without-a-round': {
    focus: { ...crashes, faults: ['pause', 'drift', 'isolate', 'transfer', 'heal'], readEvery: 5 },
    seedsMax: 100,
  },
  'raft-read-before-the-own-term': { focus: { ...crashes, readEvery: 10 }, seedsMax: 100 },
  'raft-take-an-old-answer-for-a-read': { focus: { ...crashes, readEvery: 10, delayMax: 80 }, seedsMax: 400 },
}
