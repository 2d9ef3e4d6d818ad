import { StorageError } from '../../../base/errors.js'
import type { DeviceId, SdsId } from '../../../base/ids.js'
import type { Device, Endpoint, MapChange, Sds } from '../../../model/index.js'
import type { OpenedDevice } from '../../../wire/control.js'
import { joinedRecords } from '../../slices/index.js'
import { newerThan } from '../acceptance.js'
import { checkLimit, checkUnused, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { checkName, checkUnique } from '../names.js'
import { hasVolumes } from '../plan.js'
import { settlementChanges } from '../settlement.js'
import { type MdmState, nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'
import { admitRemoval } from './devices.js'

/** SDSs: what people add, and what their processes report. */
export const sdsDeciders: Deciders<'addSds' | 'renameSds' | 'removeSds' | 'registerSds' | 'settle' | 'copiesJoined'> = {
  addSds(state, { protectionDomainId, faultSetId, name, endpoint, guid }) {
    const domain = find(state, 'protectionDomains', protectionDomainId)
    const sdss = rows(state, 'sdss')
    const beside = sdss.filter(sds => sds.protectionDomainId === protectionDomainId)
    checkName('SDS', name)
    checkUnique('SDS', name, sdss)
    checkLimit('SDSs', sdss.length, systemLimits.sdss)
    checkLimit('SDSs in a protection domain', beside.length, systemLimits.sdssPerDomain, domain.name)
    checkEndpoint(sdss, endpoint, null)
    const same = sdss.find(sds => sds.guid === guid)
    if (same)
      throw new StorageError('ALREADY_EXISTS', { detail: 'this SDS is part of the system already', sds: same.name })
    if (faultSetId !== null) {
      const faultSet = find(state, 'faultSets', faultSetId)
      if (faultSet.protectionDomainId !== protectionDomainId)
        throw new StorageError('BAD_ARGUMENT', {
          detail: 'an SDS and its fault set are in the same protection domain',
          sds: name,
          faultSet: faultSet.name,
          remedy: `choose a fault set of ${domain.name}`,
        })
      const members = beside.filter(sds => sds.faultSetId === faultSetId)
      checkLimit('SDSs in a fault set', members.length, systemLimits.sdssPerFaultSet, faultSet.name)
    }
    const id = nextId<'sds'>(state)
    const sds: Sds = { id, name, protectionDomainId, faultSetId, endpoint, guid, incarnation: 0, processId: '' }
    return { changes: [put('sdss', sds)], answer: { id } }
  },

  renameSds(state, { id, name }) {
    const sds = find(state, 'sdss', id)
    checkName('SDS', name)
    checkUnique('SDS', name, rows(state, 'sdss'), id)
    return done(put('sdss', { ...sds, name }))
  },

  removeSds(state, { id, thinAllocated }) {
    const sds = find(state, 'sdss', id)
    const devices = rows(state, 'devices').filter(device => device.sdsId === id)
    if (devices.length === 0) return { changes: [drop('sdss', id)], answer: { removed: true } }
    if (sds.removing) return { changes: [], answer: { removed: false } }
    const pending = devices.filter(({ state }) => state === 'pending')
    checkUnused('SDS', sds.name, pending, 'devices that are being initialised', 'try again when that is done')
    const thin = new Map(thinAllocated)
    for (const poolId of new Set(devices.map(device => device.poolId))) {
      const inPool = devices.filter(device => device.poolId === poolId)
      const pool = find(state, 'pools', poolId)
      if (hasVolumes(state.map, poolId)) admitRemoval(state, pool, inPool, thin.get(poolId) ?? 0, 'removing this SDS')
    }
    const drained = devices.map(device => put('devices', { ...device, state: 'removing' }))
    return { changes: [put('sdss', { ...sds, removing: true }), ...drained], answer: { removed: false } }
  },

  registerSds(state, { id, processId, endpoint, devices, settlement }) {
    const sds = find(state, 'sdss', id)
    const incarnation = sds.processId === processId ? sds.incarnation : sds.incarnation + 1
    const answer = { sdsId: id, incarnation }
    const returned = returnedDevices(state, id, processId, devices)
    // The same process again, with nothing that it had not before: it changes nothing.
    if (sds.processId === processId && returned.length === 0) return { changes: [], answer }
    checkEndpoint(rows(state, 'sdss'), endpoint, id)
    checkEpochs(state, sds, devices)
    const changes: MapChange[] = [put('sdss', { ...sds, endpoint, processId, incarnation })]
    const opened = new Map<DeviceId, Device>()
    for (const { deviceId, path } of returned) {
      const device = find(state, 'devices', deviceId)
      opened.set(device.id, { ...device, path, incarnation })
    }
    changes.push(...settlementChanges(state, settlement, opened))
    return { changes, answer }
  },

  settle(state, { settlement }) {
    return done(...settlementChanges(state, settlement, new Map()))
  },

  copiesJoined(state, { sdsId, incarnation, poolId, slices }) {
    const sds = find(state, 'sdss', sdsId)
    find(state, 'pools', poolId)
    // A report of an older process is void: it may know of writes that only it had under way.
    if (sds.incarnation !== incarnation) return { changes: [], answer: { joined: 0 } }
    const records = joinedRecords(
      state.map,
      state.map.slices.get(poolId) ?? [],
      sdsId,
      slices,
      state.epochHigh.get(poolId) ?? 0,
    )
    const changes: MapChange[] = records.length > 0 ? [{ kind: 'slices', poolId, slices: records }] : []
    return { changes, answer: { joined: records.length } }
  },
}

function checkEndpoint(sdss: readonly Sds[], { host, port }: Endpoint, ownId: SdsId | null): void {
  const other = sdss.find(sds => sds.id !== ownId && sds.endpoint.host === host && sds.endpoint.port === port)
  if (!other) return
  throw new StorageError('ALREADY_EXISTS', {
    detail: 'another SDS has this address',
    endpoint: `${host}:${port}`,
    sds: other.name,
    remedy: 'give every SDS an address of its own',
  })
}

/** A device that knows more than this configuration says: the MDM has gone back in time. */
export function checkEpochs(state: MdmState, sds: Sds, devices: readonly OpenedDevice[]): void {
  for (const opened of devices) {
    const device = state.map.tables.devices.get(opened.deviceId)
    const why = device?.sdsId === sds.id ? newerThan(state, opened) : null
    if (why === null) continue
    throw new StorageError('CONFIGURATION', {
      detail: `the device knows a newer configuration than this MDM, which has gone back in time: ${why}`,
      sds: sds.name,
      device: device!.name,
      remedy: 'bring back the newest MDM directory; or go on from here with scli --accept_older_configuration',
    })
  }
}

/**
 * The devices whose return a registration brings: all that a new process has opened; of a known process, those that it
 * opened since (it found them later).
 */
export function returnedDevices(
  state: MdmState,
  sdsId: SdsId,
  processId: string,
  opened: readonly OpenedDevice[],
): OpenedDevice[] {
  const sds = find(state, 'sdss', sdsId)
  return opened.filter(({ deviceId }) => {
    const device = state.map.tables.devices.get(deviceId)
    if (!device || device.sdsId !== sdsId || device.state === 'pending') return false
    return sds.processId !== processId || device.incarnation !== sds.incarnation
  })
}
