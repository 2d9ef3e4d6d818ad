import { StorageError } from '../base/errors.js'
import { applyDelta, type ClusterMap, emptyMap, forgetVolumes, type MapDelta } from '../model/index.js'
import type { DaemonNotices } from '../wire/control.js'

export interface MapStep {
  /** What was new, in order. */
  applied: MapDelta[]
  whole: boolean
  /** Something between is missing: subscribe again from the map's version. */
  gap: boolean
}

/** Keeps one map up to date; the object stays the same for as long as the process lives. Its version never goes down. */
export class MapKeeper {
  readonly map: ClusterMap = emptyMap()

  take(notice: DaemonNotices['map']): MapStep {
    if (!notice.whole) return { ...this.#continue(notice.deltas), whole: false }
    const [first, ...rest] = notice.deltas
    if (first === undefined) throw new StorageError('PROTOCOL', { field: 'deltas', detail: 'a whole map is empty' })
    // While it was on its way, an SDS may have handed over what came after it.
    if (first.version < this.map.version) return { ...this.#continue(rest), whole: false }
    this.#replace(first)
    const { applied, gap } = this.#continue(rest)
    return { applied: [first, ...applied], whole: true, gap }
  }

  offer(deltas: readonly MapDelta[]): MapStep {
    return { ...this.#continue(deltas), whole: false }
  }

  #continue(deltas: readonly MapDelta[]): { applied: MapDelta[]; gap: boolean } {
    const applied: MapDelta[] = []
    for (const delta of deltas) {
      if (delta.version <= this.map.version) continue
      if (delta.version !== this.map.version + 1) return { applied, gap: true }
      applyDelta(this.map, delta)
      applied.push(delta)
    }
    return { applied, gap: false }
  }

  #replace(whole: MapDelta): void {
    for (const table of Object.values(this.map.tables)) table.clear()
    forgetVolumes(this.map.tables.volumes)
    this.map.slices.clear()
    this.map.version = 0
    // Version 0 is a system in which nothing has happened yet.
    if (whole.version > 0) applyDelta(this.map, whole)
  }
}

/** The outline of a map notice; what the MDM has committed is not checked again. */
export function checkMapNotice(params: unknown): DaemonNotices['map'] {
  const notice = params as DaemonNotices['map'] | null
  if (typeof notice !== 'object' || notice === null || typeof notice.whole !== 'boolean')
    throw new StorageError('PROTOCOL', { field: 'whole', detail: 'a map notice is malformed' })
  checkDeltas(notice.deltas)
  return notice
}

export function checkDeltas(deltas: unknown): asserts deltas is MapDelta[] {
  const sound = (delta: Partial<MapDelta> | null) =>
    delta !== null && typeof delta === 'object' && Number.isSafeInteger(delta.version) && Array.isArray(delta.changes)
  if (!Array.isArray(deltas) || !deltas.every(sound))
    throw new StorageError('PROTOCOL', { field: 'deltas', detail: 'map changes are malformed' })
}
