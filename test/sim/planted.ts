import type { Mutation } from '../../src/base/mutation.js'
import type { RunPlan } from './plan.js'

/** A planted bug, and what makes a run likely to meet it: the load and the faults that touch its rule. */
export interface Planted {
  focus: Partial<RunPlan>
  /** Seeds within which it must be found. */
  seedsMax: number
}

const common = {
  mdms: 1 as const,
  spareMdms: 0,
  hasConfigLoad: false,
  volumes: 1,
  faultMs: 4_000,
  sparePercent: 34,
  devicesPerSds: 1,
}
const busy: Partial<RunPlan> = { ...common, depth: 8, hotChunks: 3, thinkMs: 10, requestsMax: 1_500, faultEveryMs: 200 }
const calm: Partial<RunPlan> = { ...common, depth: 4, hotChunks: 6, thinkMs: 20, requestsMax: 1_000, faultEveryMs: 400 }

/** Copies are moved, and replaced by others. */
const moving: Partial<RunPlan> = { graceMs: 400, spareSdss: 1, devicesPerSds: 2, sliceCount: 4 }
/** Two clients of one volume. */
const shared: Partial<RunPlan> = { sdcs: 2, isShared: true, hasReader: true }
/** Requests that go on as long as the faults do. */
const steady: Partial<RunPlan> = { ...common, depth: 2, hotChunks: 2, thinkMs: 20, requestsMax: 5_000 }
/** All in one slice: what a client asks for is all on its side, or nothing is. */
const parted: Partial<RunPlan> = {
  ...steady,
  ...shared,
  sdss: 3,
  faultSets: 3,
  spareSdss: 0,
  sliceCount: 1,
  hotChunks: 1,
  depth: 4,
  faultMs: 12_000,
  faultEveryMs: 800,
}

/** One slice, one client that sends nothing again, and nothing but one kind of story. */
const alone: Partial<RunPlan> = {
  ...steady,
  sdss: 3,
  faultSets: 3,
  spareSdss: 0,
  sliceCount: 1,
  sdcs: 1,
  hasReader: false,
  isShared: false,
  resends: false,
  hotChunks: 12,
  depth: 4,
  diskMs: 0.2,
  leaseMs: 1_000,
  graceMs: 60_000,
  marksIdleMs: 10_000,
  wholePercent: 3,
  clockRates: false,
  zeroPadding: true,
  faultMs: 6_000,
}

/** Two clients of one chunk, and primaries that die with writes that no other copy has heard of. */
const halfDone: Partial<RunPlan> = {
  ...steady,
  ...shared,
  resends: false,
  hotChunks: 1,
  depth: 8,
  faultMs: 6_000,
  faultEveryMs: 1_500,
  faults: ['write-half-done'],
}

/** Three MDMs, and somebody who changes the configuration all the time. */
const mdms: Partial<RunPlan> = {
  ...calm,
  mdms: 3,
  spareMdms: 2,
  hasConfigLoad: true,
  requestsMax: 100,
  faultMs: 12_000,
  faultEveryMs: 1_500,
}

export const planted: { [M in Mutation]?: Planted } = {
  'acknowledge-before-the-secondary': { focus: { ...busy, faults: ['cut-and-crash'] }, seedsMax: 20 },
  'ignore-the-epoch': { focus: { ...busy, faults: ['crash-sds', 'power-sds'] }, seedsMax: 10 },
  'serve-an-old-session': { focus: { ...busy, faults: ['sdc-behind-clog'] }, seedsMax: 20 },
  'promote-a-joining-copy': { focus: { ...calm, faults: ['crash-sds', 'power-all'] }, seedsMax: 10 },
  'resume-after-SIGKILL-in-the-same-epoch': {
    focus: { ...alone, faultEveryMs: 1_200, faults: ['die-half-done'] },
    seedsMax: 10,
  },
  'forget-a-void-role-while-its-copy-is-away': {
    focus: {
      ...alone,
      sliceCount: 8,
      hotChunks: 24,
      thinkMs: 40,
      faultMs: 12_000,
      faultEveryMs: 500,
      faults: ['stop-who-waits'],
    },
    seedsMax: 20,
  },
  'keep-a-power-cycled-secondary-in-sync': { focus: { ...calm, faults: ['power-sds'] }, seedsMax: 10 },
  'hide-a-loss': { focus: { ...calm, faults: ['power-all'] }, seedsMax: 10 },
  'lose-the-flush-set-with-the-SDC': { focus: { ...calm, faults: ['power-all', 'crash-sdc'] }, seedsMax: 20 },
  'answer-FLUSH-after-a-loss': { focus: { ...calm, faultEveryMs: 1_500, faults: ['power-all'] }, seedsMax: 10 },
  'lock-ranges-at-the-primary-only': { focus: { ...busy, faults: ['crash-sds', 'slow-disk'] }, seedsMax: 20 },
  'copy-without-the-lock': {
    focus: { ...alone, hotChunks: 1, depth: 8, wholePercent: 0, faultEveryMs: 500, faults: ['join-while-written'] },
    seedsMax: 10,
  },
  'answer-before-the-index-has-the-chunk': {
    focus: { ...calm, hotChunks: 24, faults: ['crash-sds', 'slow-disk'] },
    seedsMax: 20,
  },
  'flush-the-primary-only': {
    focus: { ...alone, faultMs: 12_000, faultEveryMs: 800, faults: ['lose-both'] },
    seedsMax: 10,
  },
  'join-before-the-sync': {
    focus: {
      ...steady,
      sdss: 3,
      faultSets: 3,
      spareSdss: 0,
      sliceCount: 1,
      graceMs: 4_000,
      faultMs: 25_000,
      faultEveryMs: 800,
      faults: ['source-lost-after-filling'],
    },
    seedsMax: 20,
  },
  'fix-the-copies-of-a-write-when-it-begins': {
    focus: {
      ...alone,
      hotChunks: 3,
      depth: 16,
      thinkMs: 30,
      faultMs: 9_000,
      wholePercent: 0,
      faultEveryMs: 300,
      faults: ['join-while-slow'],
    },
    seedsMax: 10,
  },
  'stop-cleanly-with-unfinished-requests': {
    focus: {
      ...steady,
      sdss: 3,
      faultSets: 3,
      hotChunks: 24,
      thinkMs: 100,
      depth: 8,
      resends: false,
      faultMs: 26_000,
      faultEveryMs: 800,
      faults: ['stop-while-parted'],
    },
    seedsMax: 20,
  },
  'read-past-unfinished-writes': { focus: halfDone, seedsMax: 30 },
  'keep-passes-over-changes': { focus: halfDone, seedsMax: 30 },
  'forget-what-lanes-wrote': {
    focus: {
      ...alone,
      hotChunks: 1,
      depth: 1,
      thinkMs: 5,
      wholePercent: 0,
      requestsMax: 3_000,
      faultEveryMs: 900,
      faults: ['power-all'],
    },
    seedsMax: 20,
  },
  'drop-the-write-intent-mark': {
    focus: { ...alone, thinkMs: 100, marksIdleMs: 100, faultEveryMs: 1_200, faults: ['die-half-done'] },
    seedsMax: 10,
  },
  'remove-without-a-mark': {
    focus: {
      ...alone,
      thinkMs: 100,
      wholeTrims: true,
      depth: 8,
      hotChunks: 24,
      marksIdleMs: 100,
      faultEveryMs: 1_200,
      faults: ['die-half-done'],
    },
    seedsMax: 10,
  },
  'clear-marks-without-a-sync': {
    focus: {
      ...alone,
      depth: 2,
      thinkMs: 200,
      marksIdleMs: 100,
      faultEveryMs: 700,
      faults: ['lose-primary'],
    },
    seedsMax: 10,
  },
  'ignore-own-marks': { focus: { ...calm, marksIdleMs: 200, faults: ['crash-sds'] }, seedsMax: 20 },
  'ignore-the-marks-of-who-returns': {
    focus: { ...alone, thinkMs: 100, marksIdleMs: 100, faultEveryMs: 1_200, faults: ['die-half-done'] },
    seedsMax: 10,
  },
  'fill-every-copy-by-marks': {
    focus: { ...calm, ...moving, marksIdleMs: 200, faultMs: 12_000, faultEveryMs: 1_500, faults: ['fault-set-away'] },
    seedsMax: 20,
  },
  'fill-before-the-lease-wait-is-over': {
    focus: {
      ...parted,
      leaseMs: 6_000,
      graceMs: 200,
      faultMs: 40_000,
      faults: ['part-primary-and-lose-its-successor'],
    },
    seedsMax: 20,
  },
  'skip-the-lease-wait': { focus: { ...parted, leaseMs: 8_000, faults: ['part-primary'] }, seedsMax: 20 },
  'give-passes-without-a-lease': { focus: { ...parted, faults: ['part-primary'] }, seedsMax: 20 },
  'answer-reads-without-a-lease': { focus: { ...parted, faults: ['part-primary'] }, seedsMax: 20 },
  'grant-leases-regardless-of-slices': {
    focus: { ...parted, leaseMs: 3_000, faults: ['part-primary-and-show-it-its-successor'] },
    seedsMax: 20,
  },
  'forget-grants-on-restart': {
    focus: { ...parted, leaseMs: 8_000, faults: ['part-primary-and-restart-its-secondary'] },
    seedsMax: 20,
  },
  'swap-with-unfinished-writes': {
    focus: { ...alone, depth: 16, hotChunks: 24, leaseMs: 8_000, faultEveryMs: 1_000, faults: ['swap-half-done'] },
    seedsMax: 10,
  },
  'accept-an-old-answer': {
    focus: { ...alone, depth: 8, faultEveryMs: 1_500, faults: ['answers-kept-back'] },
    seedsMax: 10,
  },
  'mdm-apply-a-repetition-again': { focus: { ...mdms, faults: ['crash-master', 'cut-master'] }, seedsMax: 10 },
  'mdm-answer-before-the-commit': { focus: { ...mdms, faults: ['crash-master', 'cut-master'] }, seedsMax: 10 },
  'mdm-skip-the-sync-of-the-log': { focus: { ...mdms, faults: ['power-mdms'] }, seedsMax: 10 },
}

/** Bugs that no promise can tell from what is right, as long as other rules hold; and which those are. */
export const unseen: { [M in Mutation]?: string } = {
  'keep-what-the-primary-has-not': 'a device drops what is no longer its own before it can join again (sds/pruning.ts)',
}

/** Bugs of the device store alone: its own random crashes find them (test/unit/sds/store/planted-flaws.test.ts). */
export const plantedInTheStore: readonly Mutation[] = [
  'await-a-visible-mark',
  'clear-a-mark-that-was-touched',
  'reuse-a-slot-before-its-removal-is-durable',
  'trust-freed-slots-after-a-crash',
]
