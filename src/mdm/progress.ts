import type { DeviceId, PoolId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import { type FillPlan, isWorthNoting, type Progress, progressAfter, resumedProgress } from '../core/rebuild/index.js'
import type { StoragePool } from '../model/index.js'
import type { Mdm } from './context.js'

export interface PoolProgress {
  rebuild: Progress & { slicesLeft: number }
  rebalance: Progress & { slicesLeft: number }
}

/** How far each pool is, from what is planned and what primaries report of their fills. */
export class PoolProgresses {
  readonly #pools = new Map<PoolId, PoolProgress>()

  /** null: not known yet. */
  of(poolId: PoolId): PoolProgress | null {
    return this.#pools.get(poolId) ?? null
  }

  /** Returns the totals where they have to be noted in the map: the next MDM goes on counting from them. */
  note({ map, registry }: Mdm, pool: StoragePool, plan: FillPlan): { rebuild: number; rebalance: number } | null {
    const { rebuild = 0, rebalance = 0 } = pool.fillBytesTotal ?? {}
    const before = this.of(pool.id) ?? { rebuild: resumedProgress(rebuild), rebalance: resumedProgress(rebalance) }
    let filling = 0
    let fillingMoves = 0
    for (const { joining, secondary } of map.slices.get(pool.id) ?? []) {
      if (joining === null) continue
      if (secondary === null) filling++
      else fillingMoves++
    }
    const sliceBytes = sliceBytesOf({ map, registry }, pool)
    const fillBytes = registry.fillChunksLeft(pool.id) * chunkBytes
    const isRebuild = plan.rebuildsLeft > 0
    const left = (slices: number, begun: number, fills: boolean): number => {
      if (slices === 0) return 0
      const bytes = Math.max(0, slices - begun) * sliceBytes + (fills ? fillBytes : begun * sliceBytes)
      return Math.max(chunkBytes, Math.round(bytes))
    }
    const rebuildLeft = left(plan.rebuildsLeft, filling, isRebuild)
    const rebalanceLeft = left(plan.movesLeft, fillingMoves, !isRebuild)
    const progress: PoolProgress = {
      rebuild: { ...progressAfter(before.rebuild, rebuildLeft), slicesLeft: plan.rebuildsLeft },
      rebalance: { ...progressAfter(before.rebalance, rebalanceLeft), slicesLeft: plan.movesLeft },
    }
    this.#pools.set(pool.id, progress)
    const totals = { rebuild: progress.rebuild.bytesTotal, rebalance: progress.rebalance.bytesTotal }
    const isNews = isWorthNoting(rebuild, totals.rebuild) || isWorthNoting(rebalance, totals.rebalance)
    return isNews ? totals : null
  }
}

/** What a copy of a slice holds on average, on the devices that have told; what others held last may not be known. */
function sliceBytesOf({ map, registry }: Pick<Mdm, 'map' | 'registry'>, { id }: StoragePool): number {
  const copies = new Map<DeviceId, number>()
  for (const { primary, secondary } of map.slices.get(id) ?? [])
    for (const deviceId of secondary === null ? [primary] : [primary, secondary])
      copies.set(deviceId, (copies.get(deviceId) ?? 0) + 1)
  let slots = 0
  let count = 0
  for (const [deviceId, here] of copies) {
    const usage = registry.usage.get(deviceId)
    if (!usage) continue
    slots += usage.slotsUsed
    count += here
  }
  return count === 0 ? 0 : (slots * chunkBytes) / count
}
