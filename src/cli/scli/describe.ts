import type { IoPolicy } from '../../model/objects.js'
import type { FillProgress, SliceSummary, SystemReport } from '../../wire/control.js'
import { formatSize } from '../format/size.js'

/** One word on the health of a pool, worst first, with how much of it. */
export function sliceState(slices: SliceSummary): string {
  const percent = (part: number) => `${Math.max(1, Math.floor((part * 100) / Math.max(1, slices.total)))}%`
  if (slices.total === 0) return 'Not placed'
  if (slices.failed > 0) return `Failed ${percent(slices.failed)}`
  if (slices.degraded > 0) return `Degraded ${percent(slices.degraded)}`
  if (slices.joining > 0) return `Rebuilding ${percent(slices.joining)}`
  return 'Normal'
}

/** How far a rebuild or a rebalance is, in percent and bytes. */
export function progressWord(progress: FillProgress | undefined): string {
  if (!progress || progress.slicesLeft === 0) return 'none'
  return `${progress.percent}% (${formatSize(progress.bytesLeft)} of ${formatSize(progress.bytesTotal)} left)`
}

/** ScaleIO's words for a policy of rebuild or rebalance. */
export function ioPolicyWord(policy: IoPolicy | undefined): string {
  if (!policy) return 'default'
  if (policy.kind === 'unlimited') return 'unlimited'
  const ios = `${policy.concurrentIos} concurrent I/Os`
  if (policy.kind === 'limitNumOfConcurrentIos') return ios
  const beside = `${ios}, ${policy.bandwidthKbPerSec} KB/s per device`
  if (policy.kind === 'favorAppIos') return `${beside} beside applications`
  const { appIopsThreshold, appBandwidthKbPerSecThreshold, quietPeriodMs } = policy
  return `${beside} until applications have been below ${appIopsThreshold} IOPS and ${appBandwidthKbPerSecThreshold} KB/s for ${quietPeriodMs} ms`
}

export const connectedWord = (connected: boolean): string => (connected ? 'Connected' : 'Disconnected')

/** The name of the object with this id in one of the report's lists, or the id. */
export const nameIn = (objects: readonly { id: string; name: string }[], id: string | null): string | null =>
  id === null ? null : (objects.find(object => object.id === id)?.name ?? id)

export const limitWord = (value: number): string | number => (value === 0 ? 'unlimited' : value)

/** Whose limit is in effect: the mapping's own or the pool's policy. */
export const limitSource = (mapping: SystemReport['mappings'][number]): string =>
  mapping.iopsLimit === null || mapping.bandwidthLimitKbPerSec === null ? 'policy' : 'own'
