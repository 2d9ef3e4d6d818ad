import type { IoPolicy, StoragePool } from '../../model/index.js'

/**
 * How fast joining copies are filled where a pool does not say.
 *
 * ScaleIO's own defaults (one I/O at a time for rebuild; 10 MB/s for rebalance) are either unbounded on a fast disk or, on
 * a slow one with applications, take days for a disk. So both follow the load, per device that is copied *from*:
 *
 * * Nobody uses the device (below 100 IOPS and 4 MB/s for a second): as fast as a few pieces of 256 KiB at a time go.
 *   That is the speed of the disk or the network, hours for the largest disk.
 * * It is used: 16 MB/s, which is 64 pieces a second beside the thousands of requests that a device serves; applications
 *   are to lose less than 15% of their IOPS. The slices of what failed are spread over all others, and each copies its
 *   share: under full load 1 TB takes 2 hours where nine devices are left, and 9 hours where two are.
 * * Moves save nobody's data: one piece at a time, and 8 MB/s beside applications.
 */
export const defaultRebuildPolicy: IoPolicy = {
  kind: 'dynamicBwThrottling',
  concurrentIos: 4,
  bandwidthKbPerSec: 16 * 1024,
  appIopsThreshold: 100,
  appBandwidthKbPerSecThreshold: 4 * 1024,
  quietPeriodMs: 1_000,
}

export const defaultRebalancePolicy: IoPolicy = {
  ...defaultRebuildPolicy,
  concurrentIos: 1,
  bandwidthKbPerSec: 8 * 1024,
}

type Policies = Pick<StoragePool, 'rebuildPolicy' | 'rebalancePolicy'>

export const rebuildPolicyOf = (pool: Policies | undefined): IoPolicy => pool?.rebuildPolicy ?? defaultRebuildPolicy
export const rebalancePolicyOf = (pool: Policies | undefined): IoPolicy =>
  pool?.rebalancePolicy ?? defaultRebalancePolicy
