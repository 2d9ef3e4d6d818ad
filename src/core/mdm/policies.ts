import { StorageError } from '../../base/errors.js'
import type { IoPolicy } from '../../model/index.js'

/** ScaleIO's ranges, per device. */
export const concurrentIosMax = 20
export const bandwidthKbPerSecMin = 1024
export const bandwidthKbPerSecMax = 1024 * 1024
export const gracePeriodMsMax = 24 * 60 * 60_000
const quietPeriodMsMax = 60 * 60_000

/** Throws BAD_ARGUMENT unless every number of the policy is within its range. */
export function checkIoPolicy(policy: IoPolicy, pool: string): void {
  if (policy.kind === 'unlimited') return
  checkRange('concurrent I/Os per device', policy.concurrentIos, 1, concurrentIosMax, pool)
  if (policy.kind === 'limitNumOfConcurrentIos') return
  checkRange('KB/s per device', policy.bandwidthKbPerSec, bandwidthKbPerSecMin, bandwidthKbPerSecMax, pool)
  if (policy.kind === 'favorAppIos') return
  const { appIopsThreshold, appBandwidthKbPerSecThreshold, quietPeriodMs } = policy
  checkRange('application IOPS per device', appIopsThreshold, 1, 1_000_000, pool)
  checkRange('application KB/s per device', appBandwidthKbPerSecThreshold, 1, bandwidthKbPerSecMax, pool)
  checkRange('milliseconds of quiet', quietPeriodMs, 1, quietPeriodMsMax, pool)
}

export const checkGracePeriod = (gracePeriodMs: number, pool: string): void =>
  checkRange('milliseconds of grace', gracePeriodMs, 0, gracePeriodMsMax, pool)

function checkRange(what: string, have: number, min: number, max: number, pool: string): void {
  if (Number.isSafeInteger(have) && have >= min && have <= max) return
  throw new StorageError('BAD_ARGUMENT', {
    detail: `a policy’s number of ${what} is from ${min} to ${max}`,
    pool,
    have,
    remedy: `choose a whole number from ${min} to ${max}`,
  })
}
