import type { DeviceId, PoolId, SdsId } from '../../base/ids.js'
import { type ClusterMap, type Device, faultUnitOf } from '../../model/index.js'

/** What the planner knows of a device. */
export interface PlacementDevice {
  deviceId: DeviceId
  sdsId: SdsId
  /** What fails together with it: the fault set, or the SDS where it has none. */
  faultUnit: string
  capacityBytes: number
}

/** The ready devices of a pool, in the order of their ids: those that new copies may be placed on. */
export const readyDevices = (map: ClusterMap, poolId: PoolId): PlacementDevice[] =>
  devicesIn(map, poolId, device => device.state === 'ready')

/** The devices of a pool that may still hold copies: also those that are being drained, or have failed. */
export const holdingDevices = (map: ClusterMap, poolId: PoolId): PlacementDevice[] =>
  devicesIn(map, poolId, device => device.state !== 'pending')

function devicesIn(map: ClusterMap, poolId: PoolId, isMeant: (device: Device) => boolean): PlacementDevice[] {
  const ready: PlacementDevice[] = []
  for (const device of map.tables.devices.values()) {
    if (device.poolId !== poolId || !isMeant(device)) continue
    const { id: deviceId, sdsId, capacityBytes } = device
    ready.push({ deviceId, sdsId, capacityBytes, faultUnit: faultUnitOf(map, deviceId) })
  }
  return ready.sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
}
