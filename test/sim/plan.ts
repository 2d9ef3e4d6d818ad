import type { ClusterMode } from '../../src/model/index.js'
import { seededRandom } from '../support/index.js'

/** What one run is made of, drawn from its seed: the cluster, the load, and which faults may strike. */
export interface RunPlan {
  seed: number
  sdss: number
  faultSets: number
  devicesPerSds: number
  sdcs: number
  volumes: number
  /** All SDCs write to every volume; else each volume has one SDC. */
  isShared: boolean
  sliceCount: number
  /** The first SDC does nothing but read: it is never held up by writes that wait. */
  hasReader: boolean
  /** Chunks that the load touches in each volume. */
  hotChunks: number
  /** Requests that each SDC has under way on each volume. */
  depth: number
  thinkMs: number
  /** What an operation of a disk takes; up to twice as much. */
  diskMs: number
  /** Requests that cover a whole chunk, in percent. */
  wholePercent: number
  /** Trims and zeroes always cover a whole chunk. */
  wholeTrims: boolean
  /** Requests of all clients together; after them only faults go on. */
  requestsMax: number
  /** How long faults may strike, and how often they do. */
  faultMs: number
  faultEveryMs: number
  faults: FaultKind[]
  /** Held back for rebuilds; a high one leaves clients few chunks, so that they meet a full pool. */
  sparePercent: number
  /** The kernel sends again what its SDC did not answer; a socket client gives up. */
  resends: boolean
  clockRates: boolean
  /** Else parts that are trimmed stay as they are. */
  zeroPadding: boolean
  isThick: boolean
  leaseMs: number
  /** A chunk that was left alone for so long loses its mark. */
  marksIdleMs: number
  /** A copy that is away for longer is replaced. */
  graceMs: number
  /** After a cut each connection comes back within this. */
  releaseMs: number
  /** Members of the MDM cluster; and MDMs that stand by, one manager before one tie breaker. */
  mdms: ClusterMode
  spareMdms: number
  /** Changes after which an MDM's log is replaced by a snapshot. */
  mdmLogEntriesMax: number
  /** Somebody changes the configuration all the time. */
  hasConfigLoad: boolean
  /** SDSs that run and are not part of the system at first: an administrator may add them. */
  spareSdss: number
}

/** What is aimed at the MDMs as a cluster. */
export const mdmFaultKinds = [
  'crash-master',
  'power-mdms',
  'stall-master',
  'cut-master',
  'split-mdms',
  'switch-ownership',
  'switch-mode',
  'replace-mdm',
] as const
/** Everything that may go wrong. Each run switches a subset on. */
export const faultKinds = [
  'crash-sds',
  'crash-sdc',
  'crash-mdm',
  'restart-sds',
  'restart-sdc',
  'restart-mdm',
  'power-sds',
  'power-sdc',
  'power-mdm',
  'power-all',
  'crash-host',
  'power-host',
  'sdc-behind-clog',
  'stall',
  'cut',
  'mute',
  'drop',
  'cut-and-crash',
  'clog',
  'slow-link',
  'slow-disk',
  'split',
  'sdc-cut',
  'fault-set-away',
  'stop-while-parted',
  'write-half-done',
  'source-dies-filling',
  'source-lost-after-filling',
  'part-primary',
  'part-primary-and-show-it-its-successor',
  'part-primary-and-restart-its-secondary',
  'part-primary-and-lose-its-successor',
  'read-error',
  'write-error',
  'sync-error',
  'host-full',
  'device-emptied',
  'add-device',
  'remove-device',
  'add-sds',
  'remove-sds',
  'maintenance',
  'grow-volume',
  'passing-volume',
  'policies',
  ...mdmFaultKinds,
] as const
/** Stories that are told only where a planted bug is looked for. */
export const aimedFaultKinds = [
  'die-half-done',
  'stop-who-waits',
  'lose-primary',
  'lose-both',
  'join-while-slow',
  'join-while-written',
  'answers-kept-back',
  'swap-half-done',
] as const
export type FaultKind = (typeof faultKinds | typeof aimedFaultKinds)[number]

export function planOf(seed: number, allowed: readonly FaultKind[] = faultKinds): RunPlan {
  const random = seededRandom(seed * 2 + 1)
  const pick = <T>(...choices: T[]): T => choices[random.integer(choices.length)]!
  const sdss = pick(3, 3, 3, 4, 5)
  const sdcs = pick(1, 1, 2)
  // Few kinds at a time: many at once only get in each other's way.
  const density = pick(3, 5, 8)
  const sparePercent = pick(34, 34, 34, 98)
  // Of its own, so that what older seeds draw stays as it was.
  const ofMdms = seededRandom(seed * 2 + 4)
  const mdms = ([1, 3, 3, 5] as const)[ofMdms.integer(4)]!
  const plan: RunPlan = {
    seed,
    sdss,
    faultSets: pick(3, sdss),
    devicesPerSds: pick(1, 1, 2),
    sdcs,
    volumes: pick(1, 1, 2),
    isShared: sdcs > 1 && random.integer(2) === 0,
    sliceCount: pick(4, 8, 16),
    hotChunks: pick(3, 6, 10, 24),
    depth: pick(1, 2, 4, 8),
    thinkMs: pick(5, 15, 40),
    diskMs: pick(0.2, 0.2, 1.5),
    wholePercent: pick(3, 3, 15),
    wholeTrims: false,
    requestsMax: pick(200, 400, 800),
    faultMs: pick(2_000, 5_000, 12_000),
    faultEveryMs: pick(200, 500, 1_500),
    faults: allowed.filter(kind => kind !== 'sdc-cut' && random.integer(density) === 0),
    sparePercent,
    resends: random.integer(2) === 0,
    clockRates: random.integer(3) === 0,
    zeroPadding: random.integer(6) > 0,
    isThick: random.integer(8) === 0 && sparePercent === 34,
    leaseMs: pick(1_000, 1_000, 1_000, 3_000),
    marksIdleMs: pick(200, 200, 2_000, 10_000),
    graceMs: pick(60_000, 60_000, 400, 3_000),
    releaseMs: pick(400, 400, 3_000),
    spareSdss: pick(0, 0, 1, 2),
    hasReader: sdcs > 1 && random.integer(3) === 0,
    mdms,
    spareMdms: mdms === 1 ? 0 : 2,
    mdmLogEntriesMax: ([20, 60, 1_000] as const)[ofMdms.integer(3)]!,
    hasConfigLoad: mdms > 1,
  }
  // Drawn last, so that seeds from before there was this fault play on the same clusters.
  if (allowed.includes('sdc-cut') && random.integer(density) === 0) plan.faults.push('sdc-cut')
  // So busy that chunks are written below TypeScript.
  if (seededRandom(seed * 2 + 8).integer(3) === 0)
    Object.assign(plan, {
      thinkMs: 2,
      depth: Math.max(plan.depth, 4),
      wholePercent: 1,
      requestsMax: 2 * plan.requestsMax,
    })
  return plan
}

/**
 * Of all seeds two in three are short stories: in the same time, more clusters and more meetings of faults find more than
 * long stories of the same.
 */
export function shortened(plan: RunPlan): RunPlan {
  if (seededRandom(plan.seed * 2 + 6).integer(3) === 0) return plan
  return { ...plan, requestsMax: plan.requestsMax / 4, faultMs: Math.min(plan.faultMs, 3_000) }
}
