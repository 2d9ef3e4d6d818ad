import type { DeviceId, PoolId } from '../../base/ids.js'
import type { ClusterMap } from '../../model/index.js'
import { changedRecords, type PoolChanges } from './lost.js'

export interface RejoinFacts {
  map: ClusterMap
  epochHigh: ReadonlyMap<PoolId, number>
  /** The copy that left is there again, and the primary reaches it. */
  mayJoin(left: DeviceId, primary: DeviceId): boolean
}

/**
 * The records in which a copy that left joins again: it is filled by the marks of both sides, so that it is preferred to
 * any other copy that is being filled in its place.
 */
export function rejoinRecords({ map, epochHigh, mayJoin }: RejoinFacts): PoolChanges {
  return changedRecords(map, epochHigh, record => {
    const { primary, secondary, joining, left = null } = record
    if (left === null || secondary !== null || joining === left || !mayJoin(left, primary)) return null
    return { ...record, joining: left }
  })
}
