import type { DeviceId, PoolId } from '../../base/ids.js'
import { type ClusterMap, faultUnitOf, type SliceRecord } from '../../model/index.js'
import type { SliceChange } from './settle.js'

/** Changes of several slices, pool by pool: what one log entry carries. */
export type PoolChanges = { poolId: PoolId; changes: SliceChange[] }[]

/** What is known when copies are dropped. */
export interface LossFacts {
  map: ClusterMap
  epochHigh: ReadonlyMap<PoolId, number>
  /** The device's copies leave, wherever another one can go on. */
  isLost(deviceId: DeviceId): boolean
  /** Whether `copy` is the one that leaves because the two cannot reach each other. */
  leavesBeside(copy: DeviceId, other: DeviceId, copyIsPrimary: boolean): boolean
  /** The copy may stand alone: its SDS lives, has the device, and its role is not void. */
  canGoOn(deviceId: DeviceId, slice: number): boolean
  /** One of the two copies says that they may differ, in this epoch. */
  isUnsound(record: SliceRecord): boolean
  /** False for a device that has failed: what it marked and holds is worth nothing. */
  keepsMarks(deviceId: DeviceId): boolean
}

/** The records of all slices that go on without their lost copies, each above every epoch of its pool so far. */
export function lostRecords(facts: LossFacts): PoolChanges {
  return changedRecords(facts.map, facts.epochHigh, record => withoutLost(record, facts))
}

/** The changes that `next` makes of the records of all pools; null leaves a slice as it is. */
export function changedRecords(
  map: ClusterMap,
  epochHigh: ReadonlyMap<PoolId, number>,
  next: (record: SliceRecord, poolId: PoolId) => SliceRecord | null,
): PoolChanges {
  const pools: PoolChanges = []
  for (const [poolId, records] of map.slices) {
    const changes: SliceChange[] = []
    for (const record of records) {
      const changed = next(record, poolId)
      if (changed === null) continue
      const epoch = Math.max(record.epoch, epochHigh.get(poolId) ?? 0) + 1
      changes.push({ replaces: record.epoch, record: { ...changed, epoch } })
    }
    if (changes.length > 0) pools.push({ poolId, changes })
  }
  return pools
}

/**
 * One slice, without its lost copies:
 *
 *     P lost, S can go on      S is primary, P has left; a joining copy starts over beside S, if it may stand there
 *     P lost, nobody else      waits: the last copy in sync never leaves
 *     S lost, P can go on      S has left; the same where the two may differ
 *     J lost, P can go on      nobody joins
 */
export function withoutLost(record: SliceRecord, facts: LossFacts): SliceRecord | null {
  const { slice } = record
  let { primary, secondary, joining, left = null } = record
  const leaves = (copy: DeviceId, other: DeviceId): boolean =>
    facts.isLost(copy) || facts.leavesBeside(copy, other, copy === record.primary)
  if (secondary !== null && leaves(primary, secondary)) {
    if (!facts.canGoOn(secondary, slice)) return null
    left = facts.keepsMarks(primary) ? primary : null
    primary = secondary
    secondary = null
    // It was chosen to replace the copy that is primary now.
    if (joining !== null && faultUnitOf(facts.map, joining) === faultUnitOf(facts.map, primary)) joining = null
  } else if (secondary !== null && (leaves(secondary, primary) || facts.isUnsound(record))) {
    if (!facts.canGoOn(primary, slice)) return null
    left = facts.keepsMarks(secondary) ? secondary : null
    secondary = null
  }
  if (joining !== null && (leaves(joining, primary) || facts.leavesBeside(primary, joining, true)))
    if (facts.canGoOn(primary, slice)) joining = null
  const isSame = primary === record.primary && secondary === record.secondary && joining === record.joining
  return isSame ? null : { ...record, primary, secondary, joining, left }
}
