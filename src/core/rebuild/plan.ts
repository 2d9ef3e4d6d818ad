import type { DeviceId, PoolId } from '../../base/ids.js'
import { faultUnitOf, type SliceRecord } from '../../model/index.js'
import type { RoleSwap, SliceChange } from '../slices/index.js'
import { type FillFacts, fillsPerDevice, gracePeriodMsOf } from './facts.js'
import { type Wish, wants } from './wish.js'

/** What to do next in one pool. */
export interface FillPlan {
  /** Fills that are of no use any more, or have no room. */
  abandons: SliceChange[]
  /** New joining copies of slices that have one copy in sync. */
  rebuilds: SliceChange[]
  /** New joining copies that will replace another one. */
  moves: SliceChange[]
  /** Slices whose roles are to be swapped, after their primary has drained them. */
  swaps: RoleSwap[]
  /** Slices that lack a copy and will get one: filled now, or waiting for their turn. */
  rebuildsLeft: number
  /** Slices with two copies in sync of which one stands elsewhere than wished. */
  movesLeft: number
}

/**
 * Plans the next fills of a pool: data with one copy first, and nothing is moved before all of it has two again. Sources
 * and targets are spread because no device takes part in more than a few fills at a time.
 */
export function planFills(facts: FillFacts, poolId: PoolId, wish: Wish | null): FillPlan {
  const plan: FillPlan = { abandons: [], rebuilds: [], moves: [], swaps: [], rebuildsLeft: 0, movesLeft: 0 }
  const records = facts.map.slices.get(poolId) ?? []
  const load = new Map<DeviceId, number>()
  const planner = new Planner(facts, poolId, wish, plan, load)
  for (const { primary, joining, left } of records)
    if (joining !== null && joining !== left) planner.count(primary, joining)
  for (const record of records) if (record.joining !== null) planner.check(record)
  let isDegraded = false
  for (const record of records) if (record.secondary === null) isDegraded = planner.rebuild(record) || isDegraded
  if (wish === null) return plan
  for (const record of records) if (record.secondary !== null) planner.move(record, wish, !isDegraded)
  return plan
}

class Planner {
  readonly graceMs: number
  readonly epoch: number

  constructor(
    readonly facts: FillFacts,
    readonly poolId: PoolId,
    readonly wish: Wish | null,
    readonly plan: FillPlan,
    readonly load: Map<DeviceId, number>,
  ) {
    this.graceMs = gracePeriodMsOf(facts.map.tables.pools.get(poolId))
    this.epoch = facts.epochHigh.get(poolId) ?? 0
  }

  count(source: DeviceId, target: DeviceId): void {
    for (const id of [source, target]) this.load.set(id, (this.load.get(id) ?? 0) + 1)
  }

  /** A fill under way: is it still wanted, and has it room? */
  check(record: SliceRecord): void {
    const { slice, epoch, secondary, joining, left = null } = record
    if (this.facts.isJoiningFull(slice, epoch)) {
      // Nor will it have room when it comes back once more.
      this.plan.abandons.push(this.#change(record, { joining: null, left: joining === left ? null : left }))
      return
    }
    if (joining === null || joining === left) return
    const isUsable = this.facts.map.tables.devices.get(joining)?.state === 'ready'
    const isWanted = secondary === null || this.wish === null || wants(this.wish, slice, joining)
    if (isUsable && isWanted) return
    this.plan.abandons.push(this.#change(record, { joining: null }))
  }

  /** A slice with one copy in sync. True if it will get another one: then nothing is moved meanwhile. */
  rebuild(record: SliceRecord): boolean {
    const { slice, primary, joining, left = null } = record
    if (!this.facts.isReady(primary)) return false
    if (joining !== null) {
      this.plan.rebuildsLeft++
      return true
    }
    if (this.#mayReturn(left) && this.facts.missingMs(slice) < this.graceMs) return true
    const target = this.#targetFor(record)
    if (target === null) return false
    this.plan.rebuildsLeft++
    if (!this.#isFree(primary) || !this.#isFree(target)) return true
    this.count(primary, target)
    this.plan.rebuilds.push(this.#change(record, { joining: target }))
    return true
  }

  /** A slice with two copies in sync: brought one step nearer to the wish, if `mayStart`. */
  move(record: SliceRecord, wish: Wish, mayStart: boolean): void {
    const { slice, primary, secondary, joining } = record
    if (secondary === null) return
    const [keepsPrimary, keepsSecondary] = [wants(wish, slice, primary), wants(wish, slice, secondary)]
    const isPlaced = keepsPrimary && keepsSecondary
    if (!isPlaced) this.plan.movesLeft++
    if (!mayStart || joining !== null || !this.facts.isReady(primary) || !this.facts.isReady(secondary)) return
    if (isPlaced ? wish.primary[slice] !== primary : keepsSecondary) {
      // A primary's own copy moves as a secondary: what joins stands in for that one.
      if (this.facts.mayLead(secondary)) this.plan.swaps.push({ primary, slice, epoch: record.epoch })
      return
    }
    if (isPlaced) return
    const target = [wish.primary[slice]!, wish.secondary[slice]!].find(id => this.#fits(id, record))
    if (target === undefined || !this.#isFree(primary) || !this.#isFree(target)) return
    this.count(primary, target)
    this.plan.moves.push(this.#change(record, { joining: target }))
  }

  /** The copy that left is worth waiting for. */
  #mayReturn(left: DeviceId | null): boolean {
    const device = left === null ? undefined : this.facts.map.tables.devices.get(left)
    return device !== undefined && device.state !== 'failed'
  }

  /** As wished; where that cannot be had, the device that has the least for its size. */
  #targetFor(record: SliceRecord): DeviceId | null {
    const { wish } = this
    if (wish === null) return null
    const wished = [wish.primary[record.slice]!, wish.secondary[record.slice]!].find(id => this.#fits(id, record))
    if (wished !== undefined) return wished
    let best: DeviceId | null = null
    let bestFree = 0
    for (const { id, poolId } of this.facts.map.tables.devices.values()) {
      const free = poolId === this.poolId && this.#fits(id, record) ? this.facts.freeChunks(id) : 0
      // Those that are free at once first: the work is spread.
      const score = free + (this.#isFree(id) ? Number.MAX_SAFE_INTEGER / 2 : 0)
      if (free === 0 || score <= bestFree) continue
      best = id
      bestFree = score
    }
    return best
  }

  #fits(target: DeviceId, { primary, secondary }: SliceRecord): boolean {
    const { facts } = this
    if (target === primary || target === secondary) return false
    if (facts.map.tables.devices.get(target)?.state !== 'ready' || !facts.isReady(target)) return false
    if (faultUnitOf(facts.map, target) === faultUnitOf(facts.map, primary)) return false
    if (facts.arePartedNow(primary, target)) return false
    return facts.freeChunks(target) > facts.chunksPerSlice * (1 + (this.load.get(target) ?? 0))
  }

  #isFree(deviceId: DeviceId): boolean {
    return (this.load.get(deviceId) ?? 0) < fillsPerDevice
  }

  #change(record: SliceRecord, fields: Partial<SliceRecord>): SliceChange {
    const epoch = Math.max(record.epoch, this.epoch) + 1
    return { replaces: record.epoch, record: { ...record, ...fields, epoch } }
  }
}
