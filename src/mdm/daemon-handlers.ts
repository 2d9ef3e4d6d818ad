import { StorageError } from '../base/errors.js'
import type { PoolId, SdsId } from '../base/ids.js'
import { missingDevices } from '../core/slices/index.js'
import type { Sds } from '../model/index.js'
import type { MdmRequests } from '../wire/control.js'
import type { Mdm } from './context.js'
import { retryPending } from './device-handlers.js'
import type { Call, Handlers } from './handlers.js'
import type { Peer } from './peer.js'

/** What SDSs and SDCs ask. */
export const daemonHandlers: Handlers<'registerSds' | 'registerSdc' | 'subscribe' | 'handOver' | 'copiesJoined'> = {
  registerSds: {
    roles: ['sds'],
    handle: async ({ mdm, peer, params }) => {
      peer.guid = params.guid
      peer.processId = params.processId
      peer.endpoint = params.endpoint
      const sds = [...mdm.map.tables.sdss.values()].find(({ guid }) => guid === params.guid)
      if (!sds) {
        mdm.ports.log.info('sds.stranger', { name: peer.name, endpoint: text(params.endpoint) })
        return null
      }
      return registerSds(mdm, peer, sds, params)
    },
  },

  registerSdc: {
    roles: ['sdc'],
    handle: async ({ mdm, peer, params }) => {
      peer.guid = params.guid
      peer.processId = params.processId
      const known = [...mdm.map.tables.sdcs.values()].find(({ guid }) => guid === params.guid)
      if (known) claim(mdm, mdm.registry.claimSdc(known.id, peer))
      const answer = await mdm.proposer.propose('registerSdc', () => {
        checkAlive(peer)
        return { guid: params.guid, processId: params.processId, name: params.name }
      })
      checkAlive(peer)
      claim(mdm, mdm.registry.claimSdc(answer.sdcId, peer))
      peer.registered = true
      mdm.ports.log.info('sdc.registered', { name: peer.name, ...answer })
      return answer
    },
  },

  subscribe: {
    roles: ['sds', 'sdc', 'tool'],
    handle: async ({ mdm, peer, params }) => {
      // An SDS may have handed over what another master has committed meanwhile.
      if (params.fromVersion > mdm.map.version) await mdm.node.barrier()
      if (params.fromVersion > mdm.map.version)
        throw new StorageError('WRONG_SYSTEM', {
          detail: 'this MDM has an older configuration than the one that asks',
          mdmHas: mdm.map.version,
          have: params.fromVersion,
          remedy: 'check that the MDM runs on its own, current directory',
        })
      mdm.pushes.subscribe(peer, params.fromVersion)
      return {}
    },
  },

  handOver: {
    roles: ['sds'],
    handle: async ({ mdm, peer, params }) => {
      const sdsId = registeredSds(peer)
      if (mdm.map.tables.sdss.get(sdsId)?.incarnation === params.incarnation) await mdm.rebuilds.handOver(sdsId)
      return {}
    },
  },

  copiesJoined: {
    roles: ['sds'],
    handle: async ({ mdm, peer, params }) => {
      const sdsId = registeredSds(peer)
      const { incarnation, poolId, slices } = params
      const { joined } = await mdm.proposer.propose('copiesJoined', () => ({
        sdsId,
        incarnation,
        poolId: poolId as PoolId,
        slices,
      }))
      mdm.ports.log.info('slices.joined', { sds: peer.name, asked: slices.length, joined })
      return {}
    },
  },
}

async function registerSds(
  mdm: Mdm,
  peer: Peer,
  sds: Sds,
  params: MdmRequests['registerSds'],
): Promise<{ sdsId: SdsId; incarnation: number } | null> {
  const { processId, endpoint, devices } = params
  claim(mdm, mdm.registry.claimSds(sds.id, peer))
  const newer = mdm.recovery.reasonToSuspect(sds, devices)
  if (newer !== null && !mdm.recovery.isOn) await mdm.recovery.suspect(sds, newer)
  // It waits, and is told when it may register.
  if (mdm.recovery.isOn) {
    if (!peer.closed) mdm.recovery.hear(sds, peer, devices)
    return null
  }
  const answer = await mdm.proposer
    .propose('registerSds', state => {
      checkAlive(peer)
      const settlement = mdm.returns.settlementOf(state, sds.id, processId, devices)
      return { id: sds.id, processId, endpoint, devices, settlement }
    })
    .catch(error => {
      // Such an SDS stays a stranger; people must know.
      mdm.ports.log.error('sds.refused', { sds: sds.name, error: String(error) })
      throw error
    })
  checkAlive(peer)
  peer.devices.clear()
  for (const { deviceId } of devices) peer.devices.add(deviceId)
  peer.registered = true
  mdm.watch.registered(sds.id)
  mdm.ports.log.info('sds.registered', { sds: sds.name, ...answer, devices: devices.length })
  for (const device of missingDevices(mdm.map, sds.id, devices))
    mdm.ports.log.error('device.missing', { sds: sds.name, device: device.name, path: device.path })
  warnForeign(mdm, sds, params)
  mdm.returns.settleNow()
  retryPending(mdm, peer)
  return answer
}

/** A device that is somebody else's in the map is not used here, whatever it says. */
function warnForeign(mdm: Mdm, sds: Sds, { devices }: MdmRequests['registerSds']): void {
  for (const { deviceId, path } of devices) {
    const device = mdm.map.tables.devices.get(deviceId)
    if (device?.sdsId !== sds.id) mdm.ports.log.warn('device.foreign', { sds: sds.name, deviceId, path })
  }
}

function claim(mdm: Mdm, older: Peer | null): void {
  if (older) mdm.drop(older, 'a newer connection of this daemon has taken over')
}

function checkAlive(peer: Peer): void {
  if (peer.closed) throw new StorageError('UNREACHABLE', { detail: 'the connection has ended meanwhile' })
}

export function registeredSds(peer: Call<'copiesJoined'>['peer']): SdsId {
  if (peer.sdsId && peer.registered) return peer.sdsId
  throw new StorageError('BAD_REQUEST', { detail: 'an SDS registers first', sds: peer.name })
}

const text = ({ host, port }: { host: string; port: number }): string => `${host}:${port}`
