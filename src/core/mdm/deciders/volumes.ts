import { StorageError } from '../../../base/errors.js'
import { volumeBytesMax } from '../../../base/limits.js'
import { GiB, volumeStepBytes } from '../../../base/units.js'
import { type MapChange, type StoragePool, volumeIndexOf } from '../../../model/index.js'
import { admitVolume, poolAccounts } from '../../capacity/index.js'
import { readyDevices } from '../../placement/index.js'
import { checkLimit, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { checkName, checkVolumeName } from '../names.js'
import { hasVolumes, planChanges } from '../plan.js'
import { applyToCopy } from '../preview.js'
import { type MdmState, nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'

/** Volumes: created, grown, removed. */
export const volumeDeciders: Deciders<'addVolume' | 'renameVolume' | 'growVolume' | 'removeVolume'> = {
  addVolume(state, { poolId, name, sizeBytes, type, plan, thinAllocatedBytes }) {
    const pool = find(state, 'pools', poolId)
    const volumes = state.map.tables.volumes
    checkName('volume', name)
    checkVolumeName(volumes, name)
    checkSize(name, sizeBytes)
    checkLimit('volumes', volumes.size, systemLimits.volumes)
    checkVolumesOfDomain(state, pool)
    checkTotals(state, pool, name, sizeBytes)
    const table: MapChange[] = plan && !hasVolumes(state.map, poolId) ? planChanges(state, state.map, pool, plan) : []
    const map = applyToCopy(state.map, table)
    if (!map.slices.has(poolId)) refuseUnplaced(state, pool, name)
    admitVolume(pool, poolAccounts(map, poolId), { name, type, addBytes: sizeBytes, thinAllocatedBytes })
    const id = nextId<'volume'>(state)
    const sliceOffset = (Math.imul(state.nextNumber, 0x9e3779b1) >>> 0) % pool.sliceCount
    const volume = { id, name, poolId, sizeBytes, type, sliceOffset }
    return { changes: [...table, put('volumes', volume)], answer: { id, sizeBytes } }
  },

  renameVolume(state, { id, name }) {
    const volume = find(state, 'volumes', id)
    checkName('volume', name)
    checkVolumeName(state.map.tables.volumes, name, id)
    return done(put('volumes', { ...volume, name }))
  },

  growVolume(state, { id, sizeBytes, thinAllocatedBytes }) {
    const volume = find(state, 'volumes', id)
    const pool = find(state, 'pools', volume.poolId)
    checkSize(volume.name, sizeBytes)
    if (sizeBytes < volume.sizeBytes)
      throw new StorageError('BAD_ARGUMENT', {
        detail: 'a volume cannot shrink',
        volume: volume.name,
        haveBytes: volume.sizeBytes,
        wantBytes: sizeBytes,
        remedy: 'copy it to a smaller volume',
      })
    const addBytes = sizeBytes - volume.sizeBytes
    if (addBytes === 0) return done()
    checkTotals(state, pool, volume.name, addBytes)
    const want = { name: volume.name, type: volume.type, addBytes, thinAllocatedBytes }
    admitVolume(pool, poolAccounts(state.map, pool.id), want)
    return done(put('volumes', { ...volume, sizeBytes }))
  },

  removeVolume(state, { id }) {
    const volume = find(state, 'volumes', id)
    const mappings = rows(state, 'mappings').filter(mapping => mapping.volumeId === id)
    if (mappings.length > 0) {
      const sdc = state.map.tables.sdcs.get(mappings[0]!.sdcId)
      throw new StorageError('IN_USE', {
        detail: 'the volume is mapped',
        volume: volume.name,
        mappings: mappings.length,
        sdc: sdc?.name,
        remedy: 'unmap it first',
      })
    }
    return done(drop('volumes', id))
  },
}

function checkSize(volume: string, sizeBytes: number): void {
  const stepGb = volumeStepBytes / GiB
  if (sizeBytes > 0 && sizeBytes % volumeStepBytes === 0 && sizeBytes <= volumeBytesMax) return
  throw new StorageError('BAD_ARGUMENT', {
    detail: `the size of a volume is a multiple of ${stepGb} GB, up to ${volumeBytesMax / GiB} GB`,
    volume,
    sizeGb: sizeBytes / GiB,
    remedy: `take ${Math.min(volumeBytesMax / GiB, Math.max(stepGb, Math.ceil(sizeBytes / volumeStepBytes) * stepGb))} GB`,
  })
}

function checkVolumesOfDomain(state: MdmState, pool: StoragePool): void {
  let beside = 0
  for (const [poolId, { count }] of volumeIndexOf(state.map.tables.volumes).pools)
    if (state.map.tables.pools.get(poolId)?.protectionDomainId === pool.protectionDomainId) beside += count
  const name = state.map.tables.protectionDomains.get(pool.protectionDomainId)?.name
  checkLimit('volumes in a protection domain', beside, systemLimits.volumesPerDomain, name)
}

function checkTotals(state: MdmState, pool: StoragePool, volume: string, addBytes: number): void {
  const { bytes, pools } = volumeIndexOf(state.map.tables.volumes)
  const { thickBytes = 0, thinBytes = 0 } = pools.get(pool.id) ?? {}
  const systemBytes = addBytes + bytes
  const poolBytes = addBytes + thickBytes + thinBytes
  const refuse = (what: string, maxGb: number): never => {
    throw new StorageError('LIMIT_REACHED', {
      detail: `the volumes of a ${what} may have ${maxGb} GB together`,
      volume,
      pool: pool.name,
      remedy: 'remove volumes first',
    })
  }
  if (poolBytes > systemLimits.volumeGbPerPool * GiB) refuse('storage pool', systemLimits.volumeGbPerPool)
  if (systemBytes > systemLimits.volumeGbPerSystem * GiB) refuse('system', systemLimits.volumeGbPerSystem)
}

function refuseUnplaced(state: MdmState, pool: StoragePool, volume: string): never {
  const units = new Set(readyDevices(state.map, pool.id).map(({ faultUnit }) => faultUnit))
  throw new StorageError('PLACEMENT', {
    detail: 'the pool cannot hold two copies: its ready devices are in fewer than two fault units',
    volume,
    pool: pool.name,
    faultUnits: units.size,
    remedy: 'add devices of SDSs in at least two fault sets (or two SDSs without one)',
  })
}
