import { StorageError } from '../base/errors.js'
import type { PoolId, ProtectionDomainId } from '../base/ids.js'
import { sliceCountDefault } from '../base/limits.js'
import {
  answeredBefore,
  type CommandAnswer,
  type CommandKind,
  type Commands,
  type MdmState,
  resolve,
} from '../core/mdm/index.js'
import type { ClusterMap } from '../model/index.js'
import type { MdmRequestName } from '../wire/control.js'
import { type Call, type Handlers, tools } from './handlers.js'

/** The id of an optional protection domain that tells names apart. */
export const domainOf = (map: ClusterMap, ref: string | undefined): ProtectionDomainId | undefined =>
  ref === undefined ? undefined : resolve(map, 'protectionDomains', ref).id

/** Proposes a command whose names are resolved at its turn. */
export const change = <K extends CommandKind>(
  { mdm, origin }: Call<MdmRequestName>,
  kind: K,
  build: (state: MdmState) => Commands[K],
): Promise<CommandAnswer<K>> => mdm.proposer.propose(kind, build, origin)

/** What this very request was answered before, when it comes again after a change of the master; null: it is new. */
export function answered<K extends CommandKind>({ mdm, origin }: Call<MdmRequestName>): CommandAnswer<K> | null {
  const outcome = origin && answeredBefore(mdm.state, origin.client, origin.number)
  return outcome && 'answer' in outcome ? (outcome.answer as CommandAnswer<K>) : null
}

/** Protection domains, fault sets and pools. */
export const adminHandlers: Handlers<
  | 'addProtectionDomain'
  | 'renameProtectionDomain'
  | 'removeProtectionDomain'
  | 'addFaultSet'
  | 'renameFaultSet'
  | 'removeFaultSet'
  | 'addStoragePool'
  | 'renameStoragePool'
  | 'removeStoragePool'
  | 'setZeroPadding'
  | 'setSparePercent'
  | 'setLimitPolicy'
  | 'addSds'
  | 'renameSds'
  | 'removeSds'
  | 'renameDevice'
  | 'renameSdc'
  | 'removeSdc'
> = {
  addProtectionDomain: {
    roles: tools,
    handle: call => change(call, 'addProtectionDomain', () => ({ name: call.params.name })),
  },
  renameProtectionDomain: {
    roles: tools,
    handle: call =>
      change(call, 'renameProtectionDomain', ({ map }) => ({
        id: resolve(map, 'protectionDomains', call.params.protectionDomain).id,
        name: call.params.newName,
      })),
  },
  removeProtectionDomain: {
    roles: tools,
    handle: call =>
      change(call, 'removeProtectionDomain', ({ map }) => ({
        id: resolve(map, 'protectionDomains', call.params.protectionDomain).id,
      })),
  },

  addFaultSet: {
    roles: tools,
    handle: call =>
      change(call, 'addFaultSet', ({ map }) => ({
        protectionDomainId: resolve(map, 'protectionDomains', call.params.protectionDomain).id,
        name: call.params.name,
      })),
  },
  renameFaultSet: {
    roles: tools,
    handle: call =>
      change(call, 'renameFaultSet', state => ({ id: faultSetOf(state, call), name: call.params.newName })),
  },
  removeFaultSet: {
    roles: tools,
    handle: call => change(call, 'removeFaultSet', state => ({ id: faultSetOf(state, call) })),
  },

  addStoragePool: {
    roles: tools,
    handle: call => {
      const { protectionDomain, name, zeroPadding = true, sparePercent = null, sliceCount } = call.params
      return change(call, 'addPool', ({ map }) => ({
        protectionDomainId: resolve(map, 'protectionDomains', protectionDomain).id,
        name,
        zeroPadding,
        sparePercent,
        sliceCount: sliceCount ?? sliceCountDefault,
      }))
    },
  },
  renameStoragePool: {
    roles: tools,
    handle: call => change(call, 'renamePool', state => ({ id: poolOf(state, call), name: call.params.newName })),
  },
  removeStoragePool: {
    roles: tools,
    handle: call => change(call, 'removePool', state => ({ id: poolOf(state, call) })),
  },
  setZeroPadding: {
    roles: tools,
    handle: call => {
      const { zeroPadding } = call.params
      return change(call, 'setZeroPadding', state => ({ id: poolOf(state, call), zeroPadding }))
    },
  },
  setSparePercent: {
    roles: tools,
    handle: call =>
      change(call, 'setSparePercent', state => {
        const id = poolOf(state, call)
        const thinAllocatedBytes = call.mdm.registry.thinAllocatedBytes(id)
        return { id, sparePercent: call.params.sparePercent, thinAllocatedBytes }
      }),
  },
  setLimitPolicy: {
    roles: tools,
    handle: call => change(call, 'setLimitPolicy', state => ({ id: poolOf(state, call), policy: call.params.policy })),
  },

  addSds: {
    roles: tools,
    handle: async call => {
      const { protectionDomain, faultSet, name, endpoint } = call.params
      const { registry } = call.mdm
      const answer = await change(call, 'addSds', ({ map }) => {
        const domain = resolve(map, 'protectionDomains', protectionDomain)
        const faultSetId = faultSet === undefined ? null : resolve(map, 'faultSets', faultSet, domain.id).id
        const guid = registry.stranger(endpoint)?.guid ?? guidOf(map, endpoint)
        if (guid === null)
          throw new StorageError('UNREACHABLE', {
            detail: 'no SDS daemon of this address is connected to this MDM',
            sds: name,
            endpoint: `${endpoint.host}:${endpoint.port}`,
            remedy: 'start it with this MDM’s address in its configuration; the address is the one that it listens on',
          })
        return { protectionDomainId: domain.id, faultSetId, name, endpoint, guid }
      })
      registry.stranger(endpoint)?.notice('adopted', {})
      return answer
    },
  },
  renameSds: {
    roles: tools,
    handle: call =>
      change(call, 'renameSds', ({ map }) => ({
        id: resolve(map, 'sdss', call.params.sds).id,
        name: call.params.newName,
      })),
  },
  removeSds: {
    roles: tools,
    handle: async call => {
      const before = answered<'removeSds'>(call)
      if (before) return before
      const { id } = resolve(call.mdm.map, 'sdss', call.params.sds)
      const peer = call.mdm.registry.sds(id)
      const { removed } = await change(call, 'removeSds', ({ map }) => {
        const pools = [...map.tables.pools.keys()] as PoolId[]
        return { id, thinAllocated: pools.map(poolId => [poolId, call.mdm.registry.thinAllocatedBytes(poolId)]) }
      })
      // It comes back as a stranger, which can be added again.
      if (removed && peer) call.mdm.drop(peer, 'the SDS was removed from the system')
      return { removed }
    },
  },
  renameDevice: {
    roles: tools,
    handle: call =>
      change(call, 'renameDevice', ({ map }) => ({
        id: resolve(map, 'devices', call.params.device).id,
        name: call.params.newName,
      })),
  },
  renameSdc: {
    roles: tools,
    handle: call =>
      change(call, 'renameSdc', ({ map }) => ({
        id: resolve(map, 'sdcs', call.params.sdc).id,
        name: call.params.newName,
      })),
  },
  removeSdc: {
    roles: tools,
    handle: call =>
      change(call, 'removeSdc', ({ map }) => {
        const { id, name } = resolve(map, 'sdcs', call.params.sdc)
        if (call.mdm.registry.sdc(id))
          throw new StorageError('IN_USE', { detail: 'the SDC is connected', sdc: name, remedy: 'stop it first' })
        return { id }
      }),
  },
}

export const poolOf = (
  { map }: MdmState,
  { params }: { params: { pool: string; protectionDomain?: string | undefined } },
) => resolve(map, 'pools', params.pool, domainOf(map, params.protectionDomain)).id

const faultSetOf = (
  { map }: MdmState,
  { params }: { params: { faultSet: string; protectionDomain?: string | undefined } },
) => resolve(map, 'faultSets', params.faultSet, domainOf(map, params.protectionDomain)).id

/** An SDS that is part of the system already: adding it again is refused by the state machine, which says so. */
function guidOf(map: ClusterMap, endpoint: { host: string; port: number }): string | null {
  for (const sds of map.tables.sdss.values())
    if (sds.endpoint.host === endpoint.host && sds.endpoint.port === endpoint.port) return sds.guid
  return null
}
