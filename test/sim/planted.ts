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

export const planted: { [M in Mutation]?: Planted } = {
  'acknowledge-before-the-secondary': { focus: { ...busy, faults: ['cut-and-crash'] }, seedsMax: 20 },
  'ignore-the-epoch': { focus: { ...busy, faults: ['crash-sds', 'power-sds'] }, seedsMax: 10 },
  'serve-an-old-session': { focus: { ...busy, faults: ['sdc-behind-clog'] }, seedsMax: 20 },
  'trust-freed-slots-after-a-crash': {
    focus: { ...calm, hotChunks: 24, wholePercent: 30, faults: ['crash-sds', 'power-sds'] },
    seedsMax: 20,
  },
  'promote-a-joining-copy': { focus: { ...calm, faults: ['crash-sds', 'power-all'] }, seedsMax: 10 },
  'resume-after-SIGKILL-in-the-same-epoch': {
    focus: {
      ...busy,
      sdss: 3,
      sdcs: 1,
      hotChunks: 24,
      diskMs: 3,
      requestsMax: 400,
      faultEveryMs: 250,
      faultMs: 600,
      resends: false,
      faults: ['crash-host'],
    },
    seedsMax: 20,
  },
  'forget-a-void-role-while-its-copy-is-away': { focus: { ...calm, faults: ['power-all'] }, seedsMax: 20 },
  'keep-a-power-cycled-secondary-in-sync': { focus: { ...calm, faults: ['power-sds'] }, seedsMax: 10 },
  'hide-a-loss': { focus: { ...calm, faults: ['power-all'] }, seedsMax: 10 },
  'lose-the-flush-set-with-the-SDC': { focus: { ...calm, faults: ['power-all', 'crash-sdc'] }, seedsMax: 20 },
  'answer-FLUSH-after-a-loss': { focus: { ...calm, faultEveryMs: 1_500, faults: ['power-all'] }, seedsMax: 10 },
  'lock-ranges-at-the-primary-only': { focus: { ...busy, faults: ['crash-sds', 'slow-disk'] }, seedsMax: 20 },
  'copy-without-the-lock': {
    focus: { ...busy, hotChunks: 2, thinkMs: 4, diskMs: 3, faultEveryMs: 400, faults: ['crash-sds'] },
    seedsMax: 30,
  },
  'answer-before-the-index-has-the-chunk': {
    focus: { ...calm, hotChunks: 24, faults: ['crash-sds', 'slow-disk'] },
    seedsMax: 20,
  },
  'flush-the-primary-only': { focus: { ...calm, faultEveryMs: 800, faults: ['power-all', 'power-sds'] }, seedsMax: 20 },
}

/** Bugs that no promise can tell from what is right, as long as other rules hold; and which those are. */
export const unseen: { [M in Mutation]?: string } = {
  'join-before-the-sync':
    'the regions stay marked until both copies have synced, so that a joined copy that lost power gets them again',
  'reuse-a-slot-before-its-removal-is-durable':
    'a chunk is marked durably before its slot is filled, and that flush makes the removal durable as well',
  'fix-the-copies-of-a-write-when-it-begins':
    'the write keeps its range lock, and the filling of the new copy waits for it and copies what it wrote',
  'stop-cleanly-with-unfinished-requests':
    'a copy that is away is dropped long before a stop gives up waiting for its answers',
  'keep-what-the-primary-has-not':
    'a copy that returns is filled by marks, which also name what was removed; nothing here copies a slice whole yet',
  'read-past-unfinished-writes':
    'its own SDC sends the write again, ahead of the next read, to whoever is primary then; another SDC would have to read ' +
    'in the fraction of a millisecond before that',
}
