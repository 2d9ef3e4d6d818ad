import type { DeviceId, PoolId, SdsId } from '../../base/ids.js'
import { type ClusterMap, faultUnitOf } from '../../model/index.js'

/** What the planner knows of a device. */
export interface PlacementDevice {
  deviceId: DeviceId
  sdsId: SdsId
  /** What fails together with it: the fault set, or the SDS where it has none. */
  faultUnit: string
  capacityBytes: number
}

/** The ready devices of a pool, in the order of their ids. */
export function readyDevices(map: ClusterMap, poolId: PoolId): PlacementDevice[] {
  const ready: PlacementDevice[] = []
  for (const device of map.tables.devices.values()) {
    if (device.poolId !== poolId || device.state !== 'ready') continue
    const { id: deviceId, sdsId, capacityBytes } = device
    ready.push({ deviceId, sdsId, capacityBytes, faultUnit: faultUnitOf(map, deviceId) })
  }
  return ready.sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
}
