import type { IoPolicy, StoragePool } from '../../model/index.js'

/**
 * How fast joining copies are filled where a pool does not say.
 *
 * ScaleIO's own defaults (one I/O at a time for rebuild; 10 MB/s for rebalance) are either unbounded on a fast disk or, on
 * a slow one with applications, take days for a disk. So both follow the load, per device that is copied *from*:
 *
 * * Nobody uses the device (below 100 IOPS and 4 MB/s for a second): as fast as a few pieces of 256 KiB at a time go.
 *   That is the speed of the disk or the network, hours for the largest disk.
 * * It is used now and then: up to 16 MB/s, the more the longer no application waits for it.
 * * It is used all the time: 5% of what applications move there, at least 1 MB/s, so that they lose less than 15% of their
 *   IOPS whatever the disk can do; a fixed rate is too much for a slow disk and too little for a fast one. Of each byte
 *   that is copied there is one read and one write, which makes some 7% of the transfers. The slices of what failed are
 *   spread over all others, and each copies its share.
 * * Moves save nobody's data: one piece at a time, and half of that beside applications.
 */
export const defaultRebuildPolicy: IoPolicy = {
  kind: 'dynamicBwThrottling',
  concurrentIos: 4,
  bandwidthKbPerSec: 16 * 1024,
  appIopsThreshold: 100,
  appBandwidthKbPerSecThreshold: 4 * 1024,
  quietPeriodMs: 1_000,
  appPercent: 5,
}

export const defaultRebalancePolicy: IoPolicy = {
  ...defaultRebuildPolicy,
  concurrentIos: 1,
  bandwidthKbPerSec: 8 * 1024,
  appPercent: 2.5,
}

type Policies = Pick<StoragePool, 'rebuildPolicy' | 'rebalancePolicy'>

export const rebuildPolicyOf = (pool: Policies | undefined): IoPolicy => pool?.rebuildPolicy ?? defaultRebuildPolicy
export const rebalancePolicyOf = (pool: Policies | undefined): IoPolicy =>
  pool?.rebalancePolicy ?? defaultRebalancePolicy
