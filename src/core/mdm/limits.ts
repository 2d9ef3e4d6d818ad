import { type ErrorContext, StorageError } from '../../base/errors.js'

/** The smallest limit of IOPS that can be set. */
export const iopsLimitMin = 11
export const bandwidthStepKbPerSec = 1024

export function checkIopsLimit(iops: number | null, where: ErrorContext): void {
  if (iops === null || iops === 0 || (Number.isSafeInteger(iops) && iops >= iopsLimitMin)) return
  throw new StorageError('BAD_ARGUMENT', {
    detail: `a limit of IOPS is 0 or at least ${iopsLimitMin}`,
    ...where,
    iops,
    remedy: 'use 0 for unlimited',
  })
}

export function checkBandwidthLimit(kbPerSec: number | null, where: ErrorContext): void {
  if (kbPerSec === null || (Number.isSafeInteger(kbPerSec) && kbPerSec >= 0 && kbPerSec % bandwidthStepKbPerSec === 0))
    return
  throw new StorageError('BAD_ARGUMENT', {
    detail: `a limit of bandwidth is a multiple of ${bandwidthStepKbPerSec} KB/s`,
    ...where,
    bandwidthKbPerSec: kbPerSec,
    remedy: 'use 0 for unlimited',
  })
}
