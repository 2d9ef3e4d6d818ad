import type { SdcId, SdsId } from '../../base/ids.js'

/** An SDC says twice a second whom it does not reach, as long as there is anybody; what is older than this is past. */
export const reachMsMax = 2_500

/** What an SDC last said of the SDSs that it has asked something. */
export interface SdcReach {
  atMs: number
  unreachable: ReadonlySet<SdsId>
  reached: ReadonlySet<SdsId>
}

/** By SDC; lost with the process. */
export type SdcReaches = ReadonlyMap<SdcId, SdcReach>

/** The SDSs that one of the SDCs does not reach. */
export function outOfReach(reaches: SdcReaches, sdcIds: Iterable<SdcId>, nowMs: number): Set<SdsId> {
  const those = new Set<SdsId>()
  for (const { unreachable } of recent(reaches, sdcIds, nowMs)) for (const sdsId of unreachable) those.add(sdsId)
  return those
}

/**
 * Whether the secondary's SDS serves these SDCs better than the primary's: one of them reaches only the secondary's, and
 * more of them are without the primary's than without the secondary's. Who says nothing is content as it is, so that two
 * SDCs that each reach another copy do not pull the role to and fro.
 */
export function leadsBetter(
  reaches: SdcReaches,
  sdcIds: Iterable<SdcId>,
  { primary, secondary }: { primary: SdsId; secondary: SdsId },
  nowMs: number,
): boolean {
  let isWanted = false
  let balance = 0
  for (const { unreachable, reached } of recent(reaches, sdcIds, nowMs)) {
    if (unreachable.has(primary) && reached.has(secondary)) isWanted = true
    balance += Number(unreachable.has(primary)) - Number(unreachable.has(secondary))
  }
  return isWanted && balance > 0
}

function* recent(reaches: SdcReaches, sdcIds: Iterable<SdcId>, nowMs: number): Generator<SdcReach> {
  for (const sdcId of sdcIds) {
    const reach = reaches.get(sdcId)
    if (reach !== undefined && nowMs - reach.atMs < reachMsMax) yield reach
  }
}
