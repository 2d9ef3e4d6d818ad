import type { MapChange, SliceRecord } from '../../../model/index.js'
import { checkRecord, holdingDevices } from '../../placement/index.js'
import { checkTransition, type PoolChanges } from '../../slices/index.js'
import { type Deciders, done, find, put } from '../decider.js'
import type { MdmState } from '../state.js'

/** Changes of slices on the MDM's own initiative: copies leave, join, and take each other's role. */
export const sliceDeciders: Deciders<'changeSlices'> = {
  changeSlices(state, { slices, failed }) {
    const changes: MapChange[] = []
    for (const id of failed) {
      const device = find(state, 'devices', id)
      if (device.state === 'ready' || device.state === 'removing')
        changes.push(put('devices', { ...device, state: 'failed' }))
    }
    return done(...changes, ...recordChanges(state, slices))
  },
}

/** The changes of records, checked. One whose predecessor has moved on is void and left out (rule 1). */
export function recordChanges(state: MdmState, pools: PoolChanges): MapChange[] {
  const changes: MapChange[] = []
  for (const { poolId, changes: wanted } of pools) {
    const current = state.map.slices.get(poolId) ?? []
    const units = new Map(
      holdingDevices(state.map, poolId).map(device => [device.deviceId as string, device.faultUnit]),
    )
    const slices: SliceRecord[] = []
    for (const { replaces, record } of wanted) {
      const old = current[record.slice]
      if (!old || old.epoch !== replaces) continue
      checkRecord(units, record)
      checkTransition(old, record)
      slices.push(record)
    }
    if (slices.length > 0) changes.push({ kind: 'slices', poolId, slices })
  }
  return changes
}
