import { StorageError } from '../base/errors.js'
import { chunkBytes } from '../base/units.js'
import { systemIdOf } from '../model/index.js'
import { check } from '../wire/check.js'
import {
  type AnswerOf,
  type ControlMessage,
  type MdmRequestName,
  type MdmRequests,
  mdmNotices,
  mdmRequests,
} from '../wire/control.js'
import { adminHandlers } from './admin-handlers.js'
import { clusterHandlers } from './cluster-handlers.js'
import { configurationHandlers } from './configuration-handlers.js'
import type { Mdm } from './context.js'
import { daemonHandlers } from './daemon-handlers.js'
import { commitGrowth, deviceHandlers } from './device-handlers.js'
import type { Handler, Handlers } from './handlers.js'
import type { Peer } from './peer.js'
import { policyHandlers } from './policy-handlers.js'
import { systemReport } from './report.js'
import { volumeHandlers } from './volume-handlers.js'
import type { Watch } from './watch.js'

/** Every request that the master answers, by name. */
const handlers: Handlers<Exclude<MdmRequestName, 'hello' | 'queryCluster'>> = {
  ...adminHandlers,
  ...configurationHandlers,
  ...clusterHandlers,
  ...daemonHandlers,
  ...deviceHandlers,
  ...policyHandlers,
  ...volumeHandlers,
  ping: { roles: ['sds', 'sdc', 'tool'], handle: () => ({}) },
  query: {
    roles: ['sds', 'sdc', 'tool'],
    handle: async ({ mdm }) => {
      await mdm.node.barrier()
      return systemReport(mdm)
    },
  },
}

/** Takes one message of a daemon or tool. Throws where it does not keep to the protocol: its connection is then closed. */
export function dispatch(mdm: Mdm, peer: Peer, message: ControlMessage): void {
  if (message.kind === 'answer') peer.takeAnswer(message)
  else if (message.kind === 'notice') takeNotice(mdm, peer, message)
  else void serve(mdm, peer, message)
}

async function serve(mdm: Mdm, peer: Peer, { id, name, params }: Request): Promise<void> {
  try {
    peer.answer(id, await handle(mdm, peer, id, name, params))
  } catch (error) {
    mdm.ports.log.debug('request.refused', { peer: peer.name, request: name, error: String(error) })
    peer.refuse(id, error)
    if (!(error instanceof StorageError)) queueMicrotask(() => raise(error))
  }
}
type Request = Extract<ControlMessage, { kind: 'request' }>

function handle(mdm: Mdm, peer: Peer, id: number, name: string, params: unknown): unknown {
  if (!Object.hasOwn(handlers, name))
    throw new StorageError('BAD_REQUEST', { request: name.slice(0, 64), detail: 'the MDM knows no such request' })
  const known = name as keyof typeof handlers
  const handler = handlers[known] as unknown as Handler<MdmRequestName>
  if (!handler.roles.includes(peer.role!))
    throw new StorageError('BAD_REQUEST', { request: name, detail: `this is not for a ${peer.role} to ask` })
  const checked = check(mdmRequests[known], params, name) as MdmRequests[MdmRequestName]
  const origin = peer.client === null ? null : { client: peer.client, number: id }
  return handler.handle({ mdm, peer, params: checked, origin })
}

/** Takes in a daemon or tool. What it is told of the map is at least what any master has told it before. */
export async function welcome(mdm: Mdm, peer: Peer, hello: MdmRequests['hello']): Promise<AnswerOf<'hello'>> {
  const systemId = systemIdOf(mdm.map)!
  if (hello.systemId !== null && hello.systemId !== systemId)
    throw new StorageError('WRONG_SYSTEM', {
      detail: `this ${hello.role} belongs to another system than the MDM`,
      name: hello.name,
      have: hello.systemId,
      mdmHas: systemId,
      remedy: 'correct the MDM addresses in its configuration, or clear its state directory to join this system',
    })
  checkEra(mdm, hello)
  await mdm.node.barrier()
  peer.helloTimer?.cancel()
  peer.role = hello.role
  // Only tools ask for changes one at a time; what daemons report may be repeated by nature.
  peer.client = hello.role === 'tool' ? (hello.client ?? null) : null
  return { systemId, mapVersion: mdm.map.version, mdmName: mdm.config.name }
}

/** A process that has lived under a configuration which another one has replaced knows epochs and numbers that are void. */
function checkEra(mdm: Mdm, { role, name, era }: { role: string; name: string; era?: string | undefined }): void {
  if (era === undefined || era === (mdm.map.tables.systems.values().next().value?.era ?? '')) return
  throw new StorageError('WRONG_SYSTEM', {
    detail: `this ${role} has lived under a configuration that another one has replaced`,
    name,
    remedy: 'it ends, and starts with nothing in memory; if nobody starts it again, do',
  })
}

function takeNotice(mdm: Mdm, peer: Peer, { name, params }: Extract<ControlMessage, { kind: 'notice' }>): void {
  const daemonId = peer.sdsId ?? peer.sdcId
  switch (name) {
    case 'mapAck': {
      const { version } = check(mdmNotices.mapAck, params, name)
      mdm.pushes.acked(peer, version)
      if (daemonId) mdm.registry.acked.set(daemonId, Math.max(peer.ackedVersion, mdm.registry.acked.get(daemonId) ?? 0))
      mdm.fences.check()
      return
    }
    case 'sdsStatus': {
      const { devices } = check(mdmNotices.sdsStatus, params, name)
      for (const usage of devices) {
        const device = mdm.map.tables.devices.get(usage.deviceId)
        if (!peer.registered || !device || device.sdsId !== peer.sdsId) continue
        mdm.registry.usage.set(usage.deviceId, usage)
        if (usage.slotsTotal * chunkBytes > device.capacityBytes && device.state !== 'pending')
          commitGrowth(mdm, device, usage.slotsTotal * chunkBytes).catch(error =>
            mdm.ports.log.error('device.notGrown', { device: device.name, error: String(error) }),
          )
      }
      return
    }
    case 'sdsAlive': {
      const { incarnation, unreachable } = check(mdmNotices.sdsAlive, params, name)
      const sds = peer.registered && peer.sdsId ? mdm.map.tables.sdss.get(peer.sdsId) : undefined
      // What an older process says of others may be long past.
      if (sds?.incarnation === incarnation) mdm.watch.alive(sds.id, unreachable as Parameters<Watch['alive']>[1])
      return
    }
    case 'sdcReach': {
      const reach = check(mdmNotices.sdcReach, params, name)
      if (peer.registered && peer.sdcId) mdm.rebuilds.reach.heard(peer.sdcId, reach)
      return
    }
    case 'sdcStatus': {
      const { exports } = check(mdmNotices.sdcStatus, params, name)
      if (peer.registered && peer.sdcId) mdm.registry.exports.set(peer.sdcId, exports)
      return
    }
    default:
      // A newer daemon may tell what this MDM does not know.
      mdm.ports.log.debug('notice.unknown', { peer: peer.name, notice: name.slice(0, 64) })
  }
}

function raise(error: unknown): never {
  throw error
}
