import type { DeviceId, PoolId } from '../../base/ids.js'
import type { ClusterMap, StoragePool } from '../../model/index.js'

export const gracePeriodMsDefault = 60_000
/** Slices that one device fills, or is filled in, at the same time: others wait for their turn. */
export const fillsPerDevice = 2

/** How long a copy of the pool may be away before its slices are copied elsewhere. */
export const gracePeriodMsOf = (pool: Pick<StoragePool, 'gracePeriodMs'> | undefined): number =>
  pool?.gracePeriodMs ?? gracePeriodMsDefault

/** What fills are planned from. */
export interface FillFacts {
  map: ClusterMap
  /** The highest epoch of any slice of a pool so far. */
  epochHigh: ReadonlyMap<PoolId, number>
  /** Open at an SDS that lives, and not in maintenance: it can give, take and serve. */
  isReady(deviceId: DeviceId): boolean
  /** For how long the slice has lacked its second copy, maintenance not counted. */
  missingMs(slice: number): number
  /** The primary says that the copy that joins in this epoch has no room. */
  isJoiningFull(slice: number, epoch: number): boolean
  /** Chunks that the device could still take. */
  freeChunks(deviceId: DeviceId): number
  /** What a slice of the pool holds on average. */
  chunksPerSlice: number
  /** Clients reach it: it may become primary by our wish. */
  mayLead(deviceId: DeviceId): boolean
  /** The two do not reach each other now. */
  arePartedNow(one: DeviceId, two: DeviceId): boolean
}
