import { StorageError } from '../../../base/errors.js'
import type { DeviceId } from '../../../base/ids.js'
import { deviceBytesMin } from '../../../base/limits.js'
import { chunkBytes, GiB } from '../../../base/units.js'
import { copiesOf, type Device, type MapChange, type SliceRecord, type StoragePool } from '../../../model/index.js'
import { admitShrink, poolAccounts } from '../../capacity/index.js'
import { readyDevices } from '../../placement/index.js'
import type { PoolPlan } from '../commands.js'
import { checkLimit, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { checkName, checkUnique } from '../names.js'
import { hasVolumes, mapWithDevice, planChanges } from '../plan.js'
import { withWaiting } from '../settlement.js'
import { type MdmState, nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'

/** Devices: added as pending, ready once their SDS has initialised them. */
export const deviceDeciders: Deciders<
  'addDevice' | 'deviceReady' | 'abandonDevice' | 'deviceCleared' | 'deviceGrown' | 'renameDevice' | 'removeDevice'
> = {
  addDevice(state, { sdsId, poolId, path, name }) {
    const sds = find(state, 'sdss', sdsId)
    const pool = find(state, 'pools', poolId)
    const devices = rows(state, 'devices')
    const ofSds = devices.filter(device => device.sdsId === sdsId)
    const ofPool = devices.filter(device => device.poolId === poolId)
    if (pool.protectionDomainId !== sds.protectionDomainId)
      throw new StorageError('BAD_ARGUMENT', {
        detail: 'a device and its storage pool are in the same protection domain',
        sds: sds.name,
        pool: pool.name,
        remedy: 'choose a pool of the SDS’s protection domain',
      })
    if (sds.removing)
      throw new StorageError('IN_USE', { detail: 'the SDS is being removed', sds: sds.name, remedy: 'use another SDS' })
    const same = ofSds.find(device => device.path === path)
    if (same)
      throw new StorageError('ALREADY_EXISTS', {
        detail: 'the SDS has this device already',
        sds: sds.name,
        path,
        device: same.name,
        remedy: 'a device is added once',
      })
    checkLimit('devices of an SDS', ofSds.length, systemLimits.devicesPerSds, sds.name)
    checkLimit('devices in a storage pool', ofPool.length, systemLimits.devicesPerPool, pool.name)
    const id = nextId<'device'>(state)
    const given = name ?? `device-${state.nextNumber}`
    checkName('device', given)
    checkUnique('device', given, devices)
    const device: Device = {
      id,
      name: given,
      sdsId,
      poolId,
      path,
      originalPath: path,
      capacityBytes: 0,
      state: 'pending',
    }
    return { changes: [put('devices', device)], answer: { id } }
  },

  deviceReady(state, { id, capacityBytes, path, plan }) {
    const device = find(state, 'devices', id)
    if (device.state !== 'pending')
      throw new StorageError('IN_USE', { detail: 'the device is ready already', device: device.name })
    if (capacityBytes < deviceBytesMin - 64 * 1024 ** 2 || capacityBytes % chunkBytes !== 0)
      throw new StorageError('BAD_ARGUMENT', {
        detail: `a device has at least ${deviceBytesMin / GiB} GiB, in whole MiB`,
        device: device.name,
        path,
        capacityBytes,
        remedy: 'use a larger device',
      })
    const { incarnation } = find(state, 'sdss', device.sdsId)
    const ready: Device = { ...device, state: 'ready', capacityBytes, path, incarnation }
    return done(put('devices', ready), ...tableAfter(state, device, ready, plan))
  },

  abandonDevice(state, { id }) {
    const device = findFailed(state, id)
    if (holdsCopies(state, id))
      throw new StorageError('IN_USE', {
        detail: 'the failed device holds the only copy of some data: it cannot begin anew',
        device: device.name,
        remedy: 'restart its SDS once the device works, so that what it holds is read again; then repeat this',
      })
    return done(...forgotten(state, device), put('devices', withWaiting(device, null)))
  },

  deviceCleared(state, { id, capacityBytes, path }) {
    const device = findFailed(state, id)
    const { incarnation } = find(state, 'sdss', device.sdsId)
    const ready: Device = { ...device, state: 'ready', capacityBytes, path, incarnation }
    return done(...forgotten(state, device), put('devices', ready))
  },

  deviceGrown(state, { id, capacityBytes, plan }) {
    const device = find(state, 'devices', id)
    if (device.state === 'pending' || capacityBytes <= device.capacityBytes || capacityBytes % chunkBytes !== 0)
      return done()
    const grown = { ...device, capacityBytes }
    return done(put('devices', grown), ...tableAfter(state, device, grown, plan))
  },

  renameDevice(state, { id, name }) {
    const device = find(state, 'devices', id)
    checkName('device', name)
    checkUnique('device', name, rows(state, 'devices'), id)
    return done(put('devices', { ...device, name }))
  },

  removeDevice(state, { id, plan, thinAllocatedBytes }) {
    const device = find(state, 'devices', id)
    const pool = find(state, 'pools', device.poolId)
    if (hasVolumes(state.map, pool.id)) {
      if (device.state !== 'removing') admitRemoval(state, pool, [device], thinAllocatedBytes, 'removing this device')
      // What it holds is copied elsewhere first; then this is asked once more.
      if (holdsCopies(state, id)) {
        const changes = device.state === 'removing' ? [] : [put('devices', { ...device, state: 'removing' as const })]
        return { changes, answer: { removed: false } }
      }
    }
    const changes = [...tableAfter(state, device, null, plan), ...forgotten(state, device), drop('devices', id)]
    return { changes, answer: { removed: true } }
  },
}

function findFailed(state: MdmState, id: DeviceId): Device {
  const device = find(state, 'devices', id)
  if (device.state === 'failed') return device
  throw new StorageError('BAD_ARGUMENT', {
    detail: 'the device has not failed',
    device: device.name,
    state: device.state,
    remedy: 'there is nothing to clear',
  })
}

/** Throws unless the pool can do without the devices: two copies can be placed, and its volumes fit beside the spare. */
export function admitRemoval(
  state: MdmState,
  pool: StoragePool,
  devices: readonly Device[],
  thinAllocatedBytes: number,
  what: string,
): void {
  let map = state.map
  for (const device of devices) map = mapWithDevice(map, device, null)
  const units = new Set(readyDevices(map, pool.id).map(({ faultUnit }) => faultUnit))
  // One that is ready may be all that the copies of another, which is being drained, can go to.
  const isNeeded = (device: Device) =>
    device.state === 'ready' || holdsCopies(state, device.id) || isAwaited(state, device)
  if (units.size < 2 && devices.some(isNeeded))
    throw new StorageError('PLACEMENT', {
      detail: `${what} would leave the pool’s volumes without a place for two copies`,
      pool: pool.name,
      faultUnits: units.size,
      remedy: 'add devices of SDSs in other fault sets first, or remove the volumes',
    })
  admitShrink(pool, poolAccounts(map, pool.id), thinAllocatedBytes, what)
}

/** A copy that is only away for a while is to return here. A failed device gives nothing back. */
const isAwaited = (state: MdmState, { id, poolId, state: is }: Device): boolean =>
  is !== 'failed' && (state.map.slices.get(poolId) ?? []).some(({ left }) => left === id)

/** Nobody waits for the return of a copy whose device is gone. */
function forgotten(state: MdmState, { id, poolId }: Device): MapChange[] {
  const epoch = (state.epochHigh.get(poolId) ?? 0) + 1
  const slices: SliceRecord[] = []
  for (const record of state.map.slices.get(poolId) ?? [])
    if (record.left === id) slices.push({ ...record, left: null, epoch })
  return slices.length > 0 ? [{ kind: 'slices', poolId, slices }] : []
}

/** While the pool has no volumes its table follows its ready devices; afterwards it stays. */
function tableAfter(state: MdmState, before: Device, after: Device | null, plan: PoolPlan | null): MapChange[] {
  const pool = find(state, 'pools', before.poolId)
  const mayPlan = !hasVolumes(state.map, pool.id)
  if (plan && mayPlan) return planChanges(state, mapWithDevice(state.map, before, after), pool, plan)
  if (!after && holdsCopies(state, before.id))
    throw new StorageError('IN_USE', { detail: 'the device holds copies', device: before.name, remedy: 'try again' })
  return []
}

/** Some slice names the device as a copy. */
export function holdsCopies(state: MdmState, id: DeviceId): boolean {
  const records = state.map.slices.get(state.map.tables.devices.get(id)!.poolId) ?? []
  return records.some(record => copiesOf(record).includes(id))
}
