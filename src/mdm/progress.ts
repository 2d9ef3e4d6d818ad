import type { PoolId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import { type FillPlan, noProgress, type Progress, progressAfter } from '../core/rebuild/index.js'
import type { StoragePool } from '../model/index.js'
import type { Mdm } from './context.js'

export interface PoolProgress {
  rebuild: Progress & { slicesLeft: number }
  rebalance: Progress & { slicesLeft: number }
}

const nothing: PoolProgress = {
  rebuild: { ...noProgress, slicesLeft: 0 },
  rebalance: { ...noProgress, slicesLeft: 0 },
}

/** How far each pool is, from what is planned and what primaries report of their fills. */
export class PoolProgresses {
  readonly #pools = new Map<PoolId, PoolProgress>()

  of(poolId: PoolId): PoolProgress {
    return this.#pools.get(poolId) ?? nothing
  }

  note({ map, registry }: Mdm, pool: StoragePool, plan: FillPlan): void {
    const before = this.of(pool.id)
    let filling = 0
    let fillingMoves = 0
    for (const { joining, secondary } of map.slices.get(pool.id) ?? []) {
      if (joining === null) continue
      if (secondary === null) filling++
      else fillingMoves++
    }
    const sliceBytes = registry.inUseBytes(pool.id) / 2 / pool.sliceCount
    const fillBytes = registry.fillChunksLeft(pool.id) * chunkBytes
    const isRebuild = plan.rebuildsLeft > 0
    const left = (slices: number, begun: number, fills: boolean): number => {
      if (slices === 0) return 0
      const bytes = Math.max(0, slices - begun) * sliceBytes + (fills ? fillBytes : begun * sliceBytes)
      return Math.max(chunkBytes, Math.round(bytes))
    }
    const rebuildLeft = left(plan.rebuildsLeft, filling, isRebuild)
    const rebalanceLeft = left(plan.movesLeft, fillingMoves, !isRebuild)
    this.#pools.set(pool.id, {
      rebuild: { ...progressAfter(before.rebuild, rebuildLeft), slicesLeft: plan.rebuildsLeft },
      rebalance: { ...progressAfter(before.rebalance, rebalanceLeft), slicesLeft: plan.movesLeft },
    })
  }
}
