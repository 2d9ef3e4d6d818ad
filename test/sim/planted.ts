import type { Mutation } from '../../src/base/mutation.js'
import type { RunPlan } from './plan.js'

/** A planted bug, and what makes a run likely to meet it: the load and the faults that touch its rule. */
export interface Planted {
  focus: Partial<RunPlan>
  /** Seeds within which it must be found. */
  seedsMax: number
}

const common = { volumes: 1, faultMs: 4_000, sparePercent: 34, devicesPerSds: 1 }
const busy: Partial<RunPlan> = { ...common, depth: 8, hotChunks: 3, thinkMs: 10, requestsMax: 1_500, faultEveryMs: 200 }
const calm: Partial<RunPlan> = { ...common, depth: 4, hotChunks: 6, thinkMs: 20, requestsMax: 1_000, faultEveryMs: 400 }

export const planted: Partial<Record<Mutation, Planted>> = {
  'acknowledge-before-the-secondary': { focus: { ...busy, faults: ['cut-and-crash'] }, seedsMax: 20 },
  'ignore-the-epoch': { focus: { ...busy, faults: ['crash-sds', 'power-sds'] }, seedsMax: 10 },
  'serve-an-old-session': { focus: { ...busy, faults: ['sdc-behind-clog'] }, seedsMax: 20 },
  'trust-freed-slots-after-a-crash': {
    focus: { ...calm, hotChunks: 24, wholePercent: 30, faults: ['crash-sds', 'power-sds'] },
    seedsMax: 20,
  },
  'promote-a-joining-copy': { focus: { ...calm, faults: ['crash-sds', 'power-all'] }, seedsMax: 10 },
  'resume-after-SIGKILL-in-the-same-epoch': {
    focus: { ...busy, hotChunks: 10, resends: false, faults: ['crash-host'] },
    seedsMax: 20,
  },
  'forget-a-void-role-while-its-copy-is-away': { focus: { ...calm, faults: ['power-all'] }, seedsMax: 20 },
  'keep-a-power-cycled-secondary-in-sync': { focus: { ...calm, faults: ['power-sds'] }, seedsMax: 10 },
  'hide-a-loss': { focus: { ...calm, faults: ['power-all'] }, seedsMax: 10 },
  'lose-the-flush-set-with-the-SDC': { focus: { ...calm, faults: ['power-all', 'crash-sdc'] }, seedsMax: 20 },
  'answer-FLUSH-after-a-loss': { focus: { ...calm, faultEveryMs: 1_500, faults: ['power-all'] }, seedsMax: 10 },
  'stop-cleanly-with-unfinished-requests': {
    focus: { ...busy, resends: false, faults: ['restart-sds', 'cut', 'crash-sdc', 'slow-link'] },
    seedsMax: 20,
  },
  'lock-ranges-at-the-primary-only': { focus: { ...busy, faults: ['crash-sds', 'slow-disk'] }, seedsMax: 20 },
  'copy-without-the-lock': { focus: { ...busy, faults: ['crash-sds', 'slow-disk'] }, seedsMax: 20 },
  'read-past-unfinished-writes': {
    focus: { ...busy, sdcs: 2, isShared: true, faults: ['cut-and-crash'] },
    seedsMax: 20,
  },
  'answer-before-the-index-has-the-chunk': {
    focus: { ...calm, hotChunks: 24, faults: ['crash-sds', 'slow-disk'] },
    seedsMax: 20,
  },
  'keep-what-the-primary-has-not': {
    focus: { ...calm, wholePercent: 30, faults: ['crash-sds', 'power-sds'] },
    seedsMax: 20,
  },
  'fix-the-copies-of-a-write-when-it-begins': {
    focus: { ...busy, faults: ['cut-and-crash', 'power-sds'] },
    seedsMax: 20,
  },
  'flush-the-primary-only': { focus: { ...calm, faults: ['power-all', 'power-sds'] }, seedsMax: 20 },
  'join-before-the-sync': { focus: { ...calm, faults: ['power-all', 'power-sds'] }, seedsMax: 20 },
  'reuse-a-slot-before-its-removal-is-durable': {
    focus: { ...calm, hotChunks: 24, faults: ['power-all', 'power-sds'] },
    seedsMax: 20,
  },
}
