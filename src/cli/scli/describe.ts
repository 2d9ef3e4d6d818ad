import type { SliceSummary, SystemReport } from '../../wire/control.js'

/** One word on the health of a pool, worst first, with how much of it. */
export function sliceState(slices: SliceSummary): string {
  const percent = (part: number) => `${Math.max(1, Math.floor((part * 100) / Math.max(1, slices.total)))}%`
  if (slices.total === 0) return 'Not placed'
  if (slices.failed > 0) return `Failed ${percent(slices.failed)}`
  if (slices.degraded > 0) return `Degraded ${percent(slices.degraded)}`
  if (slices.joining > 0) return `Rebuilding ${percent(slices.joining)}`
  return 'Normal'
}

export const connectedWord = (connected: boolean): string => (connected ? 'Connected' : 'Disconnected')

/** The name of the object with this id in one of the report's lists, or the id. */
export const nameIn = (objects: readonly { id: string; name: string }[], id: string | null): string | null =>
  id === null ? null : (objects.find(object => object.id === id)?.name ?? id)

export const limitWord = (value: number): string | number => (value === 0 ? 'unlimited' : value)

/** Whose limit is in effect: the mapping's own or the pool's policy. */
export const limitSource = (mapping: SystemReport['mappings'][number]): string =>
  mapping.iopsLimit === null || mapping.bandwidthLimitKbPerSec === null ? 'policy' : 'own'
