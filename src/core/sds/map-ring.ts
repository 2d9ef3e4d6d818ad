import type { MapDelta } from '../../model/index.js'

const deltasMax = 512
/** Together about as much as fits into one data frame. */
const changesMax = 8192

/** The latest map changes, for peers that are a little behind. */
export class MapRing {
  #deltas: MapDelta[] = []
  #changes = 0
  /** Everything after this version is here. */
  #baseVersion = 0

  /** Forgets everything: the map was replaced by one of `version`. */
  reset(version: number): void {
    this.#deltas = []
    this.#changes = 0
    this.#baseVersion = version
  }

  add(delta: MapDelta): void {
    this.#deltas.push(delta)
    this.#changes += sizeOf(delta)
    while (this.#deltas.length > deltasMax || this.#changes > changesMax) {
      const oldest = this.#deltas.shift()
      if (oldest === undefined) return
      this.#changes -= sizeOf(oldest)
      this.#baseVersion = oldest.version
    }
  }

  /** Whether everything after `version` is here. */
  reaches(version: number): boolean {
    return version >= this.#baseVersion
  }

  /** What a peer at `version` lacks, in log order; empty if that is no longer known. */
  since(version: number): MapDelta[] {
    if (version < this.#baseVersion) return []
    return this.#deltas.filter(delta => delta.version > version)
  }
}

function sizeOf(delta: MapDelta): number {
  let changes = 1
  for (const change of delta.changes) changes += change.kind === 'slices' ? change.slices.length : 1
  return changes
}
