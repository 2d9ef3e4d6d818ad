import { StorageError } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { buildDeviceGrown, buildDeviceReady, buildRemoveDevice, holdingCopies, resolve } from '../core/mdm/index.js'
import { type Device, devicesOfSds, type Sds, systemIdOf } from '../model/index.js'
import { answered, change, domainOf } from './admin-handlers.js'
import type { Mdm } from './context.js'
import { type Handlers, tools } from './handlers.js'
import type { Peer } from './peer.js'

/** Shorter than what tools wait for an answer. */
const prepareTimeoutMs = 50_000
const releaseTimeoutMs = 20_000
const growTimeoutMs = 20_000

/** Devices: the MDM commits them as pending, their SDS initialises them, the MDM commits them as ready. */
export const deviceHandlers: Handlers<'addDevice' | 'removeDevice' | 'clearDeviceError' | 'growDevice'> = {
  addDevice: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const sds = resolve(mdm.map, 'sdss', params.sds)
      const peer = mdm.registry.sds(sds.id)
      if (!peer)
        throw new StorageError('UNREACHABLE', {
          detail: 'the SDS is not connected',
          sds: sds.name,
          remedy: 'start it, then add the device',
        })
      const { id } = await change(call, 'addDevice', ({ map }) => {
        const domain = domainOf(map, params.protectionDomain) ?? sds.protectionDomainId
        const poolId = resolve(map, 'pools', params.pool, domain).id
        return { sdsId: sds.id, poolId, path: params.path, name: params.name ?? null }
      })
      const { sizeBytes = null, force = false } = params
      const device = mdm.map.tables.devices.get(id)
      // Asked again after a change of the master: the one before may have come to the end of it.
      if (device === undefined)
        throw new StorageError('NOT_FOUND', {
          detail: 'the device could not be initialised, and was taken out again',
          path: params.path,
          remedy: 'add it again',
        })
      if (device.state !== 'pending') return { id, capacityBytes: device.capacityBytes }
      const capacityBytes = await prepare(mdm, peer, device, { sizeBytes, force })
      return { id, capacityBytes }
    },
  },

  removeDevice: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const before = answered<'removeDevice'>(call)
      if (before) return before
      const device = resolve(mdm.map, 'devices', params.device)
      if (mdm.preparing.has(device.id))
        throw new StorageError('IN_USE', {
          detail: 'the device is being initialised',
          device: device.name,
          remedy: 'try again when that is done',
        })
      const { removed } = await change(call, 'removeDevice', state => removal(mdm, device.id)(state))
      if (removed) await release(mdm, device)
      else mdm.ports.log.info('device.draining', { device: device.name })
      return { removed }
    },
  },

  clearDeviceError: {
    roles: tools,
    handle: async ({ mdm, params }) => {
      const device = resolve(mdm.map, 'devices', params.device)
      await clearError(mdm, connectedSds(mdm, device), device)
      return {}
    },
  },

  growDevice: {
    roles: tools,
    handle: async ({ mdm, params }) => {
      const device = resolve(mdm.map, 'devices', params.device)
      const peer = connectedSds(mdm, device)
      const { capacityBytes } = await peer.request('growDevice', { deviceId: device.id }, growTimeoutMs)
      await commitGrowth(mdm, device, capacityBytes)
      return { capacityBytes: mdm.map.tables.devices.get(device.id)?.capacityBytes ?? capacityBytes }
    },
  },
}

function connectedSds(mdm: Mdm, { name, sdsId }: Device): Peer {
  const peer = mdm.registry.sds(sdsId)
  if (peer) return peer
  const sds = mdm.map.tables.sdss.get(sdsId)?.name
  const remedy = 'start it, then repeat this'
  throw new StorageError('UNREACHABLE', { detail: 'the SDS of the device is not connected', device: name, sds, remedy })
}

/**
 * A failed device takes part again. Where no slice names it, it is made anew, empty: whatever is placed on it is copied
 * whole, never by marks. Where it holds the only copy of something, its SDS must have opened it since it failed: then the
 * registration has decided what that copy is worth.
 */
async function clearError(mdm: Mdm, peer: Peer, device: Device): Promise<void> {
  if (mdm.preparing.has(device.id))
    throw new StorageError('IN_USE', { detail: 'the device is being initialised', device: device.name })
  mdm.preparing.add(device.id)
  try {
    const isOpenAgain = peer.devices.has(device.id) && mdm.registry.usage.get(device.id)?.error === null
    let found = { capacityBytes: device.capacityBytes, path: device.path }
    if (!holdingCopies(mdm.state, device.id) || !isOpenAgain) {
      await mdm.proposer.propose('abandonDevice', () => ({ id: device.id }))
      const params = { deviceId: device.id, systemId: systemIdOf(mdm.map)!, path: device.path }
      found = checkPrepared(await peer.request('resetDevice', params, prepareTimeoutMs), device)
      // What it said of the device before is past.
      mdm.registry.usage.delete(device.id)
      peer.devices.add(device.id)
    }
    await mdm.proposer.propose('deviceCleared', () => ({ id: device.id, ...found }))
    mdm.ports.log.info('device.cleared', { device: device.name, ...found })
  } finally {
    mdm.preparing.delete(device.id)
  }
}

/** The SDS says that the device is larger than the map has it. */
export async function commitGrowth(mdm: Mdm, { id, name }: Device, capacityBytes: number): Promise<void> {
  let hasGrown = false
  await mdm.proposer.propose('deviceGrown', state => {
    const device = state.map.tables.devices.get(id)
    hasGrown = device !== undefined && device.state !== 'pending' && device.capacityBytes < capacityBytes
    return hasGrown ? buildDeviceGrown(state, id, capacityBytes) : null
  })
  if (hasGrown) mdm.ports.log.info('device.grown', { device: name, capacityBytes })
}

const removal =
  (mdm: Mdm, id: DeviceId) =>
  (state: Mdm['state']): ReturnType<typeof buildRemoveDevice> => {
    const poolId = state.map.tables.devices.get(id)?.poolId
    return buildRemoveDevice(state, id, poolId ? mdm.registry.thinAllocatedBytes(poolId) : 0)
  }

/** The device holds nothing any more: it goes, and with the last one its SDS that is being removed. */
export async function finishRemoval(mdm: Mdm, device: Device): Promise<void> {
  const { removed } = await mdm.proposer.propose('removeDevice', removal(mdm, device.id))
  if (!removed) return
  mdm.ports.log.info('device.removed', { device: device.name })
  await release(mdm, device)
  const sds = mdm.map.tables.sdss.get(device.sdsId)
  if (sds?.removing) await finishSds(mdm, sds)
}

/** An SDS that is being removed and has no device left. */
export async function finishSds(mdm: Mdm, sds: Sds): Promise<void> {
  if (devicesOfSds(mdm.map, sds.id).length > 0) return
  const peer = mdm.registry.sds(sds.id)
  const { removed } = await mdm.proposer.propose('removeSds', () => ({ id: sds.id, thinAllocated: [] }))
  if (removed && peer) mdm.drop(peer, 'the SDS was removed from the system')
}

/** Has the SDS initialise a pending device and commits it as ready; what fails leaves no trace in the map. */
async function prepare(
  mdm: Mdm,
  peer: Peer,
  device: Device,
  options: { sizeBytes: number | null; force: boolean },
): Promise<number> {
  mdm.preparing.add(device.id)
  try {
    const systemId = systemIdOf(mdm.map)!
    const params = { deviceId: device.id, systemId, path: device.path, ...options }
    const found = checkPrepared(await peer.request('prepareDevice', params, prepareTimeoutMs), device)
    await mdm.proposer.propose('deviceReady', state => buildDeviceReady(state, device.id, found))
    peer.devices.add(device.id)
    mdm.ports.log.info('device.ready', { device: device.name, path: found.path, capacityBytes: found.capacityBytes })
    return found.capacityBytes
  } catch (error) {
    mdm.ports.log.warn('device.notAdded', { device: device.name, path: device.path, error: String(error) })
    await mdm.proposer
      .propose('removeDevice', removal(mdm, device.id))
      .catch(cause => mdm.ports.log.error('device.pendingKept', { device: device.name, error: String(cause) }))
    // It may have been initialised by then: given back, it can be added again.
    await release(mdm, device)
    throw error
  } finally {
    mdm.preparing.delete(device.id)
  }
}

function checkPrepared(answer: unknown, device: Device): { capacityBytes: number; path: string } {
  const { capacityBytes, path } = (answer ?? {}) as { capacityBytes?: unknown; path?: unknown }
  if (Number.isSafeInteger(capacityBytes) && (capacityBytes as number) >= 0 && typeof path === 'string')
    return { capacityBytes: capacityBytes as number, path }
  throw new StorageError('PROTOCOL', { detail: 'the SDS’s answer about the device is malformed', device: device.name })
}

/** Best effort: a device that keeps its superblock can be taken over by force. */
async function release(mdm: Mdm, device: Device): Promise<void> {
  const peer = mdm.registry.sds(device.sdsId)
  peer?.devices.delete(device.id)
  mdm.registry.usage.delete(device.id)
  await peer
    ?.request('releaseDevice', { deviceId: device.id }, releaseTimeoutMs)
    .catch(error => mdm.ports.log.warn('device.notReleased', { device: device.name, error: String(error) }))
}

/** Devices that were pending when an MDM or their SDS stopped: once more. */
export function retryPending(mdm: Mdm, peer: Peer): void {
  for (const device of mdm.map.tables.devices.values()) {
    if (device.sdsId !== peer.sdsId || device.state !== 'pending' || mdm.preparing.has(device.id)) continue
    prepare(mdm, peer, device, { sizeBytes: null, force: false }).catch(() => {})
  }
}
