import { type DeviceId, numberOfId, type PoolId } from '../../base/ids.js'
import type { ClusterMap, MapDelta, SliceRecord } from '../../model/index.js'
import { sliceKey } from './roles.js'

/** A slice that one of our devices leads now and did not before. */
export interface Promotion {
  key: number
  epoch: number
  version: number
  /** Who led it before; null: nobody knows what happened in between. */
  from: DeviceId | null
}

export interface PrimaryMoves {
  promotions: Promotion[]
  /** Some slice is led by another SDS now. */
  hasResigned: boolean
}

/**
 * Who leads each slice, entry by entry: the map itself shows only where several entries together lead, and a slice that
 * was another's in between was perhaps written there.
 */
export class PrimaryHistory {
  readonly #records = new Map<PoolId, SliceRecord[]>()
  /** By slice key: the epoch since which one of our devices leads it, where it once did not. */
  readonly #sinceEpoch = new Map<number, number>()

  constructor(readonly isOurs: (deviceId: DeviceId) => boolean) {}

  /** True if the slice was not ours, or nobody knows, some time after `epoch`. */
  wasAwaySince(key: number, epoch: number): boolean {
    return (this.#sinceEpoch.get(key) ?? 0) > epoch
  }

  take({ version, changes }: MapDelta): PrimaryMoves {
    const moves: PrimaryMoves = { promotions: [], hasResigned: false }
    for (const change of changes) {
      if (change.kind === 'dropSlices') this.#records.delete(change.poolId)
      if (change.kind !== 'slices') continue
      const records = this.#records.get(change.poolId) ?? []
      this.#records.set(change.poolId, records)
      for (const record of change.slices) {
        const before = records[record.slice]
        records[record.slice] = record
        const [was, is] = [before !== undefined && this.isOurs(before.primary), this.isOurs(record.primary)]
        if (was && !is) moves.hasResigned = true
        // A slice without a past has no other primary.
        if (before === undefined || was || !is) continue
        const key = sliceKey(numberOfId(change.poolId), record.slice)
        this.#promoted(moves, { key, epoch: record.epoch, version, from: before.primary })
      }
    }
    return moves
  }

  /** A whole map says nothing about what came before it. */
  replace({ version, slices }: ClusterMap): PrimaryMoves {
    const moves: PrimaryMoves = { promotions: [], hasResigned: true }
    for (const [poolId, records] of slices)
      for (const record of records) {
        const before = this.#records.get(poolId)?.[record.slice]
        if (!this.isOurs(record.primary) || before?.epoch === record.epoch) continue
        const key = sliceKey(numberOfId(poolId), record.slice)
        this.#promoted(moves, { key, epoch: record.epoch, version, from: null })
      }
    this.#records.clear()
    for (const [poolId, records] of slices) this.#records.set(poolId, [...records])
    return moves
  }

  #promoted(moves: PrimaryMoves, promotion: Promotion): void {
    moves.promotions.push(promotion)
    this.#sinceEpoch.set(promotion.key, promotion.epoch)
  }
}
