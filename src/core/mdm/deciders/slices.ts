import { StorageError } from '../../../base/errors.js'
import type { SdsId } from '../../../base/ids.js'
import { applyChange, copiesOf, devicesOfSds, type MapChange, type SliceRecord } from '../../../model/index.js'
import { checkRecord, holdingDevices } from '../../placement/index.js'
import { checkTransition, type PoolChanges } from '../../slices/index.js'
import { type Deciders, done, find, put, rows } from '../decider.js'
import type { MdmState } from '../state.js'

/** Changes of slices on the MDM's own initiative: copies leave, join, and take each other's role. */
export const sliceDeciders: Deciders<'changeSlices' | 'enterMaintenance' | 'exitMaintenance'> = {
  changeSlices(state, { slices, failed }) {
    const changes: MapChange[] = []
    for (const id of failed) {
      const device = find(state, 'devices', id)
      if (device.state === 'ready' || device.state === 'removing')
        changes.push(put('devices', { ...device, state: 'failed' }))
    }
    return done(...changes, ...recordChanges(state, slices))
  },

  enterMaintenance(state, { id, slices }) {
    const sds = find(state, 'sdss', id)
    if (sds.maintenance) return done()
    const other = rows(state, 'sdss').find(({ maintenance }) => maintenance)
    if (other)
      throw new StorageError('IN_USE', {
        detail: 'another SDS is in maintenance: one at a time',
        sds: sds.name,
        other: other.name,
        remedy: 'let that one exit maintenance first',
      })
    const changes = recordChanges(state, slices)
    const needed = slicesThatNeed(state, id, changes)
    if (needed > 0)
      throw new StorageError('IN_USE', {
        detail: 'some data would be left without a copy that is up to date and connected',
        sds: sds.name,
        slices: needed,
        remedy: 'wait until all slices are healthy',
      })
    return done(put('sdss', { ...sds, maintenance: true }), ...changes)
  },

  exitMaintenance(state, { id }) {
    const { maintenance, ...sds } = find(state, 'sdss', id)
    return maintenance ? done(put('sdss', sds)) : done()
  },
}

/** Slices that still name a device of the SDS as a copy after `changes`. */
function slicesThatNeed(state: MdmState, sdsId: SdsId, changes: readonly MapChange[]): number {
  const map = { ...state.map, slices: new Map([...state.map.slices].map(([id, records]) => [id, [...records]])) }
  for (const change of changes) applyChange(map, change)
  const own = new Set(devicesOfSds(map, sdsId).map(({ id }) => id))
  let needed = 0
  for (const records of map.slices.values())
    for (const record of records) if (copiesOf(record).some(id => own.has(id))) needed++
  return needed
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
