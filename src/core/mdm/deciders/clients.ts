import { StorageError } from '../../../base/errors.js'
import type { Mapping, Sdc } from '../../../model/index.js'
import { checkLimit, checkUnused, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { checkBandwidthLimit, checkIopsLimit } from '../limits.js'
import { acceptableName, checkName, checkUnique } from '../names.js'
import { nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'

/** SDCs and their mappings. */
export const clientDeciders: Deciders<
  'registerSdc' | 'renameSdc' | 'removeSdc' | 'mapVolume' | 'unmapVolume' | 'setMappingLimits'
> = {
  /** An SDC is added when it first comes. */
  registerSdc(state, { guid, processId, name }) {
    const sdcs = rows(state, 'sdcs')
    const known = sdcs.find(sdc => sdc.guid === guid)
    if (known?.processId === processId)
      return { changes: [], answer: { sdcId: known.id, incarnation: known.incarnation } }
    if (!known) checkLimit('SDCs', sdcs.length, systemLimits.sdcs)
    const sdc: Sdc = known
      ? { ...known, processId, incarnation: known.incarnation + 1 }
      : {
          id: nextId<'sdc'>(state),
          name: acceptableName(name, `sdc-${state.nextNumber}`, sdcs),
          guid,
          processId,
          incarnation: 1,
        }
    return { changes: [put('sdcs', sdc)], answer: { sdcId: sdc.id, incarnation: sdc.incarnation } }
  },

  renameSdc(state, { id, name }) {
    const sdc = find(state, 'sdcs', id)
    checkName('SDC', name)
    checkUnique('SDC', name, rows(state, 'sdcs'), id)
    return done(put('sdcs', { ...sdc, name }))
  },

  removeSdc(state, { id }) {
    const { name } = find(state, 'sdcs', id)
    const mapped = rows(state, 'mappings').filter(mapping => mapping.sdcId === id)
    const volumes = mapped.flatMap(({ volumeId }) => state.map.tables.volumes.get(volumeId) ?? [])
    checkUnused('SDC', name, volumes, 'mapped volumes', 'unmap them first')
    return done(drop('sdcs', id))
  },

  mapVolume(state, { volumeId, sdcId, accessMode, allowMultipleMappings, iopsLimit, bandwidthLimitKbPerSec }) {
    const volume = find(state, 'volumes', volumeId)
    const sdc = find(state, 'sdcs', sdcId)
    const where = { volume: volume.name, sdc: sdc.name }
    const mappings = rows(state, 'mappings')
    const ofVolume = mappings.filter(mapping => mapping.volumeId === volumeId)
    if (ofVolume.some(mapping => mapping.sdcId === sdcId))
      throw new StorageError('ALREADY_EXISTS', { detail: 'the volume is mapped to this SDC already', ...where })
    if (ofVolume.length > 0 && !allowMultipleMappings)
      throw new StorageError('IN_USE', {
        detail: 'the volume is mapped to another SDC',
        ...where,
        mappedTo: state.map.tables.sdcs.get(ofVolume[0]!.sdcId)?.name,
        remedy: 'unmap it there first, or allow multiple mappings',
      })
    const ofSdc = mappings.filter(mapping => mapping.sdcId === sdcId)
    checkLimit('volumes mapped to an SDC', ofSdc.length, systemLimits.volumesPerSdc, sdc.name)
    checkIopsLimit(iopsLimit, where)
    checkBandwidthLimit(bandwidthLimitKbPerSec, where)
    const id = nextId<'mapping'>(state)
    const mapping: Mapping = { id, volumeId, sdcId, accessMode, iopsLimit, bandwidthLimitKbPerSec }
    return { changes: [put('mappings', mapping)], answer: { id } }
  },

  unmapVolume(state, { volumeId, sdcId }) {
    const volume = find(state, 'volumes', volumeId)
    const sdc = sdcId === null ? null : find(state, 'sdcs', sdcId)
    const removed = rows(state, 'mappings').filter(
      mapping => mapping.volumeId === volumeId && (sdcId === null || mapping.sdcId === sdcId),
    )
    if (removed.length === 0)
      throw new StorageError('NOT_FOUND', {
        detail: sdc ? 'the volume is not mapped to this SDC' : 'the volume is not mapped',
        volume: volume.name,
        sdc: sdc?.name,
      })
    return { changes: removed.map(mapping => drop('mappings', mapping.id)), answer: { removed } }
  },

  setMappingLimits(state, { volumeId, sdcId, iopsLimit, bandwidthLimitKbPerSec }) {
    const volume = find(state, 'volumes', volumeId)
    const sdc = find(state, 'sdcs', sdcId)
    const where = { volume: volume.name, sdc: sdc.name }
    const mapping = rows(state, 'mappings').find(row => row.volumeId === volumeId && row.sdcId === sdcId)
    if (!mapping) throw new StorageError('NOT_FOUND', { detail: 'the volume is not mapped to this SDC', ...where })
    const iops = iopsLimit === undefined ? mapping.iopsLimit : iopsLimit
    const bandwidth = bandwidthLimitKbPerSec === undefined ? mapping.bandwidthLimitKbPerSec : bandwidthLimitKbPerSec
    checkIopsLimit(iops, where)
    checkBandwidthLimit(bandwidth, where)
    return done(put('mappings', { ...mapping, iopsLimit: iops, bandwidthLimitKbPerSec: bandwidth }))
  },
}
