import type { ClusterMap, MapChange } from '../../model/index.js'

/** The map with some slice tables changed, without touching `map`. */
export function applyToCopy(map: ClusterMap, changes: readonly MapChange[]): ClusterMap {
  if (changes.length === 0) return map
  const slices = new Map(map.slices)
  for (const change of changes) {
    if (change.kind === 'slices') slices.set(change.poolId, change.slices)
    if (change.kind === 'dropSlices') slices.delete(change.poolId)
  }
  return { ...map, slices }
}
