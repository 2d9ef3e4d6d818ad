import type { DeviceId, PoolId } from '../../base/ids.js'
import { type ClusterMap, faultUnitOf } from '../../model/index.js'

/** One slice to compare, at the device that is its primary when the check begins. */
export interface SliceTask {
  poolId: PoolId
  slice: number
  primary: DeviceId
}

export interface PlacementFault {
  pool: string
  slice: number
  /** `missing`: fewer than two copies in sync; `together`: both in one fault unit; `unknown`: a device is not in the map. */
  kind: 'missing' | 'together' | 'unknown'
  what: string
}

/** Every slice of every pool, in order. */
export function slicesToCheck(map: ClusterMap): SliceTask[] {
  return [...map.slices].flatMap(([poolId, records]) =>
    records.map(({ slice, primary }) => ({ poolId, slice, primary })),
  )
}

/** What the map itself says is wrong: slices without two copies in different fault units. */
export function placementFaults(map: ClusterMap): PlacementFault[] {
  const faults: PlacementFault[] = []
  for (const [poolId, records] of map.slices) {
    const pool = map.tables.pools.get(poolId)?.name ?? poolId
    for (const { slice, primary, secondary, joining } of records) {
      if (secondary === null) {
        const what = joining === null ? 'has one copy' : 'has one copy in sync, another one is being filled'
        faults.push({ pool, slice, kind: 'missing', what })
        continue
      }
      const lost = [primary, secondary].filter(deviceId => !map.tables.devices.has(deviceId))
      if (lost.length > 0)
        faults.push({ pool, slice, kind: 'unknown', what: `names a device that does not exist: ${lost.join(', ')}` })
      else if (faultUnitOf(map, primary) === faultUnitOf(map, secondary))
        faults.push({ pool, slice, kind: 'together', what: `has both copies in fault unit ${unitName(map, primary)}` })
    }
  }
  return faults
}

function unitName(map: ClusterMap, deviceId: DeviceId): string {
  const unit = faultUnitOf(map, deviceId)
  return map.tables.faultSets.get(unit)?.name ?? map.tables.sdss.get(unit)?.name ?? unit
}
