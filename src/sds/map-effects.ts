import { type DeviceId, numberOfId } from '../base/ids.js'
import { deviceFill } from '../core/capacity/index.js'
import { changedRecords, roleOf } from '../core/sds/index.js'
import type { ClusterMap, MapDelta } from '../model/index.js'
import type { SdsContext } from './context.js'
import type { MapAcks } from './map-ack.js'
import type { OwnDevice } from './own-device.js'

/**
 * Brings a new map into effect on the devices: epochs are noted before anything is served in them, unfinished changes
 * go to the copies of the new records, volumes that are gone are dropped, and the version is acknowledged when the
 * requests of removed mappings have ended.
 */
export function applyMap(
  context: SdsContext,
  acks: MapAcks,
  map: ClusterMap,
  deltas: readonly MapDelta[],
  whole: boolean,
): void {
  const { view, ring } = context
  context.passes.voidAll()
  view.refresh(map, whole ? null : deltas)
  if (whole) ring.reset(map.version)
  else for (const delta of deltas) ring.add(delta)
  context.leases.mapChanged(map, whole ? null : deltas)
  context.drains.mapChanged()
  for (const device of context.devices.values()) adoptRecords(device, map, whole ? null : deltas)
  for (const device of context.devices.values())
    for (const request of [...device.active]) if (request.isListed) request.mapChanged()
  acknowledge(context, acks, map.version)
}

/** What the map says of a device that was opened after the map came, or of all records when it is a new map. */
export function adoptRecords(device: OwnDevice, map: ClusterMap, deltas: readonly MapDelta[] | null): void {
  if (map.version === 0) return
  for (const { poolId, record } of changedRecords(map, deltas)) {
    const role = roleOf(record, device.id)
    if (role !== 'none') device.store.adoptEpoch(numberOfId(poolId), record.slice, record.epoch, role !== 'joining')
  }
  if (deltas !== null && !deltas.some(changesFill)) return
  device.store.setLimits(deviceFill(map, device.id))
  dropGoneVolumes(device, map)
}

/** Mappings and SDCs come and go without a bearing on how far devices may be filled. */
function changesFill({ changes }: MapDelta): boolean {
  return changes.some(
    change =>
      change.kind === 'slices' ||
      change.kind === 'dropSlices' ||
      (change.table !== 'mappings' && change.table !== 'sdcs' && change.table !== 'systems'),
  )
}

/** Only what the map has had and dropped, or what a returning device brings that the map does not have. */
function dropGoneVolumes(device: OwnDevice, map: ClusterMap): void {
  const known = new Set([...map.tables.volumes.keys()].map(id => numberOfId(id as DeviceId)))
  for (const volume of device.store.volumes()) if (!known.has(volume)) device.volumesToDrop.add(volume)
  device.dropVolumes()
}

function acknowledge(context: SdsContext, acks: MapAcks, version: number): void {
  const gate = acks.gate(version)
  for (const device of context.devices.values())
    for (const request of device.active) {
      if (request.mapping === 0 || request.gate !== null || context.view.mappings.has(request.mapping)) continue
      request.gate = gate
      gate.add()
    }
  gate.arm()
}
