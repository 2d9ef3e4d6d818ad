import { buildAddVolume, resolve } from '../core/mdm/index.js'
import { change, domainOf } from './admin-handlers.js'
import { type Handlers, tools } from './handlers.js'

/** Volumes and mappings. */
export const volumeHandlers: Handlers<
  'addVolume' | 'renameVolume' | 'growVolume' | 'removeVolume' | 'mapVolume' | 'unmapVolume' | 'setMappingLimits'
> = {
  addVolume: {
    roles: tools,
    handle: call => {
      const { pool, protectionDomain, name, sizeBytes, type } = call.params
      return change(call, 'addVolume', state => {
        const poolId = resolve(state.map, 'pools', pool, domainOf(state.map, protectionDomain)).id
        return buildAddVolume(state, { poolId, name, sizeBytes, type }, call.mdm.registry.thinAllocatedBytes(poolId))
      })
    },
  },
  renameVolume: {
    roles: tools,
    handle: call =>
      change(call, 'renameVolume', ({ map }) => ({
        id: resolve(map, 'volumes', call.params.volume).id,
        name: call.params.newName,
      })),
  },
  growVolume: {
    roles: tools,
    handle: call =>
      change(call, 'growVolume', ({ map }) => {
        const { id, poolId } = resolve(map, 'volumes', call.params.volume)
        const thinAllocatedBytes = call.mdm.registry.thinAllocatedBytes(poolId)
        return { id, sizeBytes: call.params.sizeBytes, thinAllocatedBytes }
      }),
  },
  removeVolume: {
    roles: tools,
    handle: call => change(call, 'removeVolume', ({ map }) => ({ id: resolve(map, 'volumes', call.params.volume).id })),
  },

  mapVolume: {
    roles: tools,
    handle: call => {
      const { accessMode = 'ReadWrite', allowMultipleMappings = false } = call.params
      const { iopsLimit = null, bandwidthLimitKbPerSec = null } = call.params
      return change(call, 'mapVolume', ({ map }) => ({
        volumeId: resolve(map, 'volumes', call.params.volume).id,
        sdcId: resolve(map, 'sdcs', call.params.sdc).id,
        accessMode,
        allowMultipleMappings,
        iopsLimit,
        bandwidthLimitKbPerSec,
      }))
    },
  },
  setMappingLimits: {
    roles: tools,
    handle: call => {
      const { iopsLimit, bandwidthLimitKbPerSec } = call.params
      return change(call, 'setMappingLimits', ({ map }) => ({
        volumeId: resolve(map, 'volumes', call.params.volume).id,
        sdcId: resolve(map, 'sdcs', call.params.sdc).id,
        iopsLimit,
        bandwidthLimitKbPerSec,
      }))
    },
  },

  unmapVolume: {
    roles: tools,
    handle: async call => {
      const { map, fences } = call.mdm
      const { volume: volumeRef, sdc: sdcRef, force = false } = call.params
      const volume = resolve(map, 'volumes', volumeRef)
      const sdcId = sdcRef === undefined ? null : resolve(map, 'sdcs', sdcRef).id
      // Removed before, but not confirmed then: this asks for the confirmation again.
      const open = fences.openOf(volume.id, sdcId)
      const mapped = [...map.tables.mappings.values()].some(
        mapping => mapping.volumeId === volume.id && (sdcId === null || mapping.sdcId === sdcId),
      )
      if (open.length === 0 || mapped) {
        const { removed } = await change(call, 'unmapVolume', () => ({ volumeId: volume.id, sdcId }))
        const { id: volumeId, poolId } = volume
        const added = removed.map(mapping => ({ volumeId, poolId, sdcId: mapping.sdcId, version: map.version }))
        open.push(...added)
        fences.add(added)
      }
      if (force) {
        call.mdm.ports.log.warn('volume.unmapForced', { volume: volume.name, unconfirmed: open.length })
        fences.forget(open)
        return {}
      }
      await fences.wait(open, volume.name)
      return {}
    },
  },
}
