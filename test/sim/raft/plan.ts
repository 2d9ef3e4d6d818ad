import type { Random } from '../../../src/ports/random.js'

/** Which members there are at first; a plus divides managers from tie breakers. */
export const shapes = ['1', '2+1', '3+2', '3', '5'] as const
export type Shape = (typeof shapes)[number]

export const faultNames = [
  'crash',
  'blink',
  'crash-all',
  'isolate',
  'isolate-one-way',
  'cut',
  'cut-one-way',
  'split',
  'heal',
  'pause',
  'slow-disk',
  'transfer',
  'campaign',
  'rivals',
  'burst',
  'drift',
] as const
export type FaultName = (typeof faultNames)[number]

export const changeNames = ['grow', 'shrink', 'replace', 'demote'] as const
export type ChangeName = (typeof changeNames)[number]

export interface RaftPlan {
  seed: number
  shape: Shape
  lossPercent: number
  duplicatePercent: number
  delayMax: number
  syncMax: number
  trailingMax: number | null
  entriesPerAppendMax: number
  faults: readonly FaultName[]
  changes: readonly ChangeName[]
  /** Between two of each; chance halves or doubles it. */
  faultEvery: number
  changeEvery: number
  proposeEvery: number
  readEvery: number
  /** A leader crashes within this time after its election; null: it need not. */
  leaderLife: number | null
  /** For how long faults come. */
  faultTime: number
  /** One member at a time is lost, and the others have to go on. */
  isOneAtATime: boolean
}

/** Each seed switches some of the faults on, so that rare ones are not drowned by frequent ones. */
export function drawPlan(seed: number, random: Random): RaftPlan {
  const one = <T>(of: readonly T[]): T => of[random.integer(of.length)]!
  const some = <T>(of: readonly T[], percent: number): T[] => of.filter(() => random.integer(100) < percent)
  return {
    seed,
    shape: one(['1', '2+1', '2+1', '2+1', '2+1', '3+2', '3+2', '3', '3', '5']),
    lossPercent: one([0, 0, 2, 10, 25]),
    duplicatePercent: one([0, 0, 5, 20]),
    delayMax: one([3, 10, 30, 80]),
    syncMax: one([1, 5, 20, 60]),
    entriesPerAppendMax: one([1, 4]),
    trailingMax: one([null, 0, 5, 30]),
    faults: some(faultNames, one([15, 30, 60])),
    changes: one([[], some(changeNames, 60)]),
    faultEvery: one([50, 150, 400]),
    changeEvery: one([200, 600]),
    proposeEvery: one([5, 15, 40]),
    readEvery: one([10, 30]),
    leaderLife: one([null, null, null, 100, 400]),
    faultTime: one([1_500, 4_000]),
    isOneAtATime: random.integer(5) === 0,
  }
}
