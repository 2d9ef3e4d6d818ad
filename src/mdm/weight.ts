import type { MapDelta } from '../model/index.js'

/** How much a delta counts where many are kept: one, and one more for every hundred slice records. */
export function weightOf(delta: MapDelta): number {
  let records = 0
  for (const change of delta.changes) if (change.kind === 'slices') records += change.slices.length
  return 1 + Math.floor(records / 100)
}
