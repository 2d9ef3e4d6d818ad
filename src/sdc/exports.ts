import { numberOfId, type PoolId, type SdcId } from '../base/ids.js'
import { type ClusterMap, mappingsOfSdc } from '../model/index.js'
import type { Log, StateDirectory } from '../ports/index.js'
import type { DataPath } from './data-path.js'
import { FlushFile, flushFileName, volumeOfFlushFile } from './flush-file.js'
import type { BlockBackend, ExportTable } from './nbd/index.js'
import { type MappedVolume, VolumeClient } from './volume-client.js'

export interface ExportsOptions {
  path: DataPath
  state: StateDirectory
  log: Log
  bootId: string
  ioTimeoutMs: number | null
}

/** What changed in the exports. */
export interface ExportsStep {
  opened: VolumeClient[]
  /** No longer offered; the caller closes their doors and themselves. */
  removed: VolumeClient[]
}

/** The volumes that are mapped to this SDC, as they stand in the map: what NBD clients may open. */
export class Exports implements ExportTable {
  readonly #volumes = new Map<string, VolumeClient>()

  constructor(readonly options: ExportsOptions) {}

  list(): BlockBackend[] {
    return [...this.#volumes.values()]
  }

  /** For a client at a socket: he may outlive this host's boot. (The kernel is given its volumes by `opened`.) */
  find(name: string): BlockBackend | undefined {
    for (const volume of this.#volumes.values()) {
      if (volume.name !== name) continue
      volume.notes.noteOutliving()
      return volume
    }
    return undefined
  }

  get volumes(): Iterable<VolumeClient> {
    return this.#volumes.values()
  }

  /** Follows the map: new mappings, removed ones, and the sizes, names and limits of the others. */
  follow(map: ClusterMap, sdcId: SdcId): ExportsStep {
    const step: ExportsStep = { opened: [], removed: [] }
    const wanted = new Map<string, MappedVolume>()
    const shared = sharedVolumes(map)
    for (const mapping of mappingsOfSdc(map, sdcId)) {
      const volume = map.tables.volumes.get(mapping.volumeId)
      const pool = volume && map.tables.pools.get(volume.poolId)
      // Without its slices there is nothing to serve yet.
      if (volume === undefined || pool === undefined || !map.slices.has(pool.id)) continue
      wanted.set(mapping.id, { volume, pool, mapping, isShared: shared.has(volume.id) })
    }
    for (const [mappingId, volume] of this.#volumes)
      if (!wanted.has(mappingId)) {
        this.#volumes.delete(mappingId)
        step.removed.push(volume)
      }
    for (const [mappingId, mapped] of wanted) {
      const volume = this.#volumes.get(mappingId)
      if (mapped.isShared) volume?.notes.noteOthers()
      if (volume !== undefined) volume.update(mapped)
      else step.opened.push(this.#open(map, mapped))
    }
    for (const volume of this.#volumes.values()) volume.onMapChange()
    return step
  }

  /** Drops the notes of mappings that are gone; returns their volumes. */
  removeLeftNotes(): string[] {
    const { state } = this.options
    const served = new Set([...this.#volumes.values()].map(volume => flushFileName(volume.volume.id)))
    const left = state.list().filter(name => volumeOfFlushFile(name) !== null && !served.has(name))
    for (const name of left) state.remove(name)
    return left.map(name => volumeOfFlushFile(name)!)
  }

  #open(map: ClusterMap, mapped: MappedVolume): VolumeClient {
    const { path, state, log, bootId, ioTimeoutMs } = this.options
    const { volume, pool, mapping } = mapped
    const mappingNumber = numberOfId(mapping.id)
    const epochs = epochsOf(map, pool.id, pool.sliceCount)
    const { isShared } = mapped
    const notes = FlushFile.open({
      clock: path.host.clock,
      state,
      log,
      bootId,
      volumeId: volume.id,
      mapping: mappingNumber,
      epochs,
      isShared,
    })
    const client = new VolumeClient({ path, notes, ioTimeoutMs, ...mapped })
    this.#volumes.set(mapping.id, client)
    log.info('volume.mapped', { volumeId: volume.id, name: volume.name, sizeBytes: volume.sizeBytes })
    return client
  }
}

/** Volumes with more than one mapping. In one pass: with many volumes this is most of what a change of the map costs. */
function sharedVolumes(map: ClusterMap): Set<string> {
  const seen = new Set<string>()
  const shared = new Set<string>()
  for (const { volumeId } of map.tables.mappings.values()) (seen.has(volumeId) ? shared : seen).add(volumeId)
  return shared
}

const epochsOf = (map: ClusterMap, poolId: PoolId, sliceCount: number): Uint32Array => {
  const records = map.slices.get(poolId) ?? []
  return Uint32Array.from({ length: sliceCount }, (_, slice) => records[slice]?.epoch ?? 0)
}
