import { GiB } from '../../base/units.js'
import type { Mapping, StoragePool, Volume } from '../../model/objects.js'

/** What a mapping may do; 0 is unlimited. A KB is 1024 bytes, as everywhere in ScaleIO's limits. */
export interface Limits {
  iops: number
  bandwidthKbPerSec: number
}

/** Bandwidth limits are multiples of this. */
export const bandwidthStepKbPerSec = 1024

/**
 * The limits in effect: the mapping's own, and what the pool's policy derives from the volume's size where the mapping
 * says nothing (`null`). Policy of 256 KB/s per GB: 104 GB -> 26 MB/s, 128 GB -> 32 MB/s.
 */
export function effectiveLimits(
  volume: Pick<Volume, 'sizeBytes'>,
  mapping: Pick<Mapping, 'iopsLimit' | 'bandwidthLimitKbPerSec'>,
  pool: Pick<StoragePool, 'limitPolicy'>,
): Limits {
  const policy = pool.limitPolicy
  return {
    iops: mapping.iopsLimit ?? policy?.iops ?? 0,
    bandwidthKbPerSec:
      mapping.bandwidthLimitKbPerSec ?? bandwidthOfSize(volume.sizeBytes, policy?.bandwidthKbPerSecPerGb ?? 0),
  }
}

function bandwidthOfSize(sizeBytes: number, kbPerSecPerGb: number): number {
  if (kbPerSecPerGb === 0) return 0
  const steps = Math.round(((sizeBytes / GiB) * kbPerSecPerGb) / bandwidthStepKbPerSec)
  return Math.max(1, steps) * bandwidthStepKbPerSec
}
