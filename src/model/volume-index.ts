import { assert } from '../base/assert.js'
import type { PoolId, VolumeId } from '../base/ids.js'
import type { Volume } from './objects.js'

/** The volumes of one pool, added up. */
export interface PoolVolumes {
  count: number
  thickBytes: number
  thinBytes: number
}

/** What would otherwise be a look at every volume. Invariant: it says what the table says, at any time. */
export interface VolumeIndex {
  count: number
  bytes: number
  byName: Map<string, VolumeId>
  pools: Map<PoolId, PoolVolumes>
}

/** Made when first asked for; kept up to date by `applyChange`, through which alone tables change. */
const indexes = new WeakMap<ReadonlyMap<string, Volume>, VolumeIndex>()

export function volumeIndexOf(table: ReadonlyMap<string, Volume>): VolumeIndex {
  let index = indexes.get(table)
  if (index === undefined) {
    index = { count: 0, bytes: 0, byName: new Map(), pools: new Map() }
    for (const volume of table.values()) count(index, volume, 1)
    indexes.set(table, index)
  }
  assert(index.count === table.size, 'volumes come and go by changes of the map alone')
  return index
}

/** A volume took the place of another one; undefined: there is none. */
export function noteVolume(
  table: ReadonlyMap<string, Volume>,
  before: Volume | undefined,
  after: Volume | undefined,
): void {
  const index = indexes.get(table)
  if (index === undefined) return
  if (before) count(index, before, -1)
  if (after) count(index, after, 1)
}

/** The table is filled anew. */
export const forgetVolumes = (table: ReadonlyMap<string, Volume>): void => void indexes.delete(table)

function count(index: VolumeIndex, { id, name, poolId, type, sizeBytes }: Volume, by: 1 | -1): void {
  index.count += by
  index.bytes += by * sizeBytes
  if (by === 1) index.byName.set(name, id)
  else if (index.byName.get(name) === id) index.byName.delete(name)
  const pool = index.pools.get(poolId) ?? { count: 0, thickBytes: 0, thinBytes: 0 }
  pool.count += by
  if (type === 'thick') pool.thickBytes += by * sizeBytes
  else pool.thinBytes += by * sizeBytes
  index.pools.set(poolId, pool)
}
