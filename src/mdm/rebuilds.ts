import type { DeviceId, PoolId, SdsId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import { holdingCopies, type SliceReason } from '../core/mdm/index.js'
import { readyDevices } from '../core/placement/index.js'
import { type FillFacts, type FillPlan, gracePeriodMsOf, planFills, type Wish, wishFor } from '../core/rebuild/index.js'
import type { SliceChange } from '../core/slices/index.js'
import type { StoragePool } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import type { Mdm } from './context.js'
import { finishRemoval, finishSds } from './device-handlers.js'
import { type PoolProgress, PoolProgresses } from './progress.js'
import { Reach } from './reach.js'
import { Swaps } from './swaps.js'

const lookMs = 500
/** After its start the MDM has heard of all SDSs that are there, and of what their devices hold. */
const settledMs = 5_000
/** After a change of slices: the next fills may begin. */
const soonMs = 20

/** Brings every pool to two copies of everything, where the planner wishes them: fills begin, roles are swapped, devices go. */
export class Rebuilds {
  readonly #wishes = new Map<PoolId, Wish | null>()
  /** When a slice was first seen without its second copy. */
  readonly #missingSinceMs = new Map<PoolId, Map<number, number>>()
  readonly #awaySinceMs = new Map<DeviceId, number>()
  readonly #progresses = new PoolProgresses()
  readonly reach: Reach
  readonly #swaps: Swaps
  readonly #finishing = new Set<string>()
  readonly #asking = new Set<PoolId>()
  /** Whose totals are on their way into the map. */
  readonly #noting = new Set<PoolId>()
  readonly #startedAtMs: number
  #timer: Timer | null = null
  #soon: Timer | null = null
  #isClosed = false

  constructor(readonly mdm: Mdm) {
    this.#startedAtMs = mdm.ports.clock.nowMs()
    this.reach = new Reach(mdm)
    this.#swaps = new Swaps(mdm)
  }

  start(): void {
    this.#timer = this.mdm.ports.clock.setTimer(lookMs, () => {
      this.look()
      this.start()
    })
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#soon?.cancel()
  }

  /** Slices have changed. */
  lookSoon(): void {
    if (this.#isClosed) return
    this.#soon ??= this.mdm.ports.clock.setTimer(soonMs, () => {
      this.#soon = null
      this.look()
    })
  }

  /** See `Swaps`. */
  handOver(sdsId: SdsId): Promise<void> {
    return this.#swaps.handOver(sdsId)
  }

  /** null: not known yet. */
  progressOf(poolId: PoolId): PoolProgress | null {
    return this.#progresses.of(poolId)
  }

  look(): void {
    const { map } = this.mdm
    if (this.mdm.recovery.isOn) return
    this.#noteAway()
    this.reach.look()
    for (const pool of map.tables.pools.values()) {
      this.#noteMissing(pool.id)
      if (map.slices.has(pool.id)) this.#lookAt(pool)
    }
    for (const device of map.tables.devices.values())
      if (device.state === 'removing' && !holdingCopies(this.mdm.state, device.id))
        this.#finish(device.id, () => finishRemoval(this.mdm, device))
    for (const sds of map.tables.sdss.values()) if (sds.removing) this.#finish(sds.id, () => finishSds(this.mdm, sds))
  }

  #lookAt(pool: StoragePool): void {
    const plan = this.#plan(pool)
    this.#noteProgress(pool, plan)
    if (!this.#asking.has(pool.id)) {
      const some = plan.abandons.length + plan.rebuilds.length + plan.moves.length > 0
      if (some) void this.#ask(pool)
    }
    const urgent = this.reach.swapsOf(pool.id)
    if (urgent.length > 0) this.#swaps.ask(pool.id, urgent, 'primary out of reach')
    else if (plan.swaps.length > 0) this.#swaps.ask(pool.id, plan.swaps, 'roles swapped')
  }

  #noteProgress(pool: StoragePool, plan: FillPlan): void {
    // What another MDM has begun to count is not over because nobody has reported here yet.
    const isEarly = this.mdm.ports.clock.nowMs() - this.#startedAtMs < settledMs
    if (isEarly && pool.fillBytesTotal && this.#progresses.of(pool.id) === null) return
    const totals = this.#progresses.note(this.mdm, pool, plan)
    if (totals === null || this.#noting.has(pool.id)) return
    this.#noting.add(pool.id)
    const noted = { id: pool.id, rebuildBytesTotal: totals.rebuild, rebalanceBytesTotal: totals.rebalance }
    this.mdm.proposer
      .propose('noteFills', ({ map }) => (map.tables.pools.has(pool.id) ? noted : null))
      .catch(error => {
        if (!this.#isClosed) this.mdm.ports.log.error('rebuild.failed', { pool: pool.name, error: String(error) })
      })
      .finally(() => this.#noting.delete(pool.id))
  }

  #plan(pool: StoragePool): FillPlan {
    const { map } = this.mdm
    const wish = wishFor(this.#wishedDevices(pool), map.slices.get(pool.id) ?? [], this.#wishes.get(pool.id) ?? null)
    this.#wishes.set(pool.id, wish)
    return planFills(this.#facts(pool), pool.id, wish)
  }

  /** Ready devices, without those that have been away for longer than the grace period. */
  #wishedDevices(pool: StoragePool) {
    const nowMs = this.mdm.ports.clock.nowMs()
    const graceMs = gracePeriodMsOf(pool)
    return readyDevices(this.mdm.map, pool.id).filter(({ deviceId }) => {
      const sinceMs = this.#awaySinceMs.get(deviceId)
      return sinceMs === undefined || nowMs - sinceMs < graceMs
    })
  }

  /** Planned again at its turn, from the state that the entries will change. */
  async #ask(pool: StoragePool): Promise<void> {
    this.#asking.add(pool.id)
    try {
      await this.#propose(pool, 'fill abandoned', plan => plan.abandons)
      await this.#propose(pool, 'rebuild', plan => plan.rebuilds)
      await this.#propose(pool, 'rebalance', plan => plan.moves)
    } catch (error) {
      if (!this.#isClosed) this.mdm.ports.log.error('rebuild.failed', { pool: pool.name, error: String(error) })
    } finally {
      this.#asking.delete(pool.id)
    }
  }

  async #propose(pool: StoragePool, why: SliceReason, pick: (plan: FillPlan) => SliceChange[]): Promise<void> {
    if (this.#isClosed || pick(this.#plan(pool)).length === 0) return
    let count = 0
    await this.mdm.proposer.propose('changeSlices', ({ map }) => {
      const changes = map.tables.pools.has(pool.id) ? pick(this.#plan(map.tables.pools.get(pool.id)!)) : []
      count = changes.length
      return count > 0 ? { why, slices: [{ poolId: pool.id, changes }], failed: [] } : null
    })
    if (count > 0) this.mdm.ports.log.info('slices.changed', { why, pool: pool.name, slices: count })
  }

  #facts(pool: StoragePool): FillFacts {
    const { mdm } = this
    const { state, registry, watch } = mdm
    const missing = this.#missingSinceMs.get(pool.id)
    const nowMs = mdm.ports.clock.nowMs()
    const ready = new Map<DeviceId, boolean>()
    for (const { id, sdsId } of state.map.tables.devices.values()) {
      const isThere = watch.isLively(sdsId) && watch.isPresent(id)
      ready.set(id, isThere && !state.map.tables.sdss.get(sdsId)?.maintenance && !registry.isLeaving(sdsId))
    }
    return {
      map: state.map,
      epochHigh: state.epochHigh,
      isReady: id => ready.get(id) ?? false,
      missingMs: slice => nowMs - (missing?.get(slice) ?? nowMs),
      isJoiningFull: (slice, epoch) => registry.isJoiningFull(pool.id, slice, epoch),
      freeChunks: id => registry.freeChunks(id),
      chunksPerSlice: Math.ceil(registry.inUseBytes(pool.id) / chunkBytes / 2 / pool.sliceCount),
      mayLead: id => this.reach.mayLead(id),
      arePartedNow: (one, two) => watch.arePartedNow(one, two),
    }
  }

  #noteAway(): void {
    const { map, watch, ports } = this.mdm
    for (const { id, sdsId } of map.tables.devices.values())
      if (watch.isPresent(id) || map.tables.sdss.get(sdsId)?.maintenance) this.#awaySinceMs.delete(id)
      else if (!this.#awaySinceMs.has(id)) this.#awaySinceMs.set(id, ports.clock.nowMs())
    for (const id of this.#awaySinceMs.keys()) if (!map.tables.devices.has(id)) this.#awaySinceMs.delete(id)
  }

  #noteMissing(poolId: PoolId): void {
    const { map, ports } = this.mdm
    const nowMs = ports.clock.nowMs()
    const before = this.#missingSinceMs.get(poolId)
    const missing = new Map<number, number>()
    for (const { slice, secondary, left = null } of map.slices.get(poolId) ?? []) {
      if (secondary !== null) continue
      const sdsId = left === null ? undefined : map.tables.devices.get(left)?.sdsId
      const isFrozen = sdsId !== undefined && map.tables.sdss.get(sdsId)?.maintenance
      missing.set(slice, isFrozen ? nowMs : (before?.get(slice) ?? nowMs))
    }
    this.#missingSinceMs.set(poolId, missing)
  }

  #finish(id: string, finish: () => Promise<void>): void {
    if (this.#finishing.has(id)) return
    this.#finishing.add(id)
    finish()
      .catch(error => {
        if (!this.#isClosed) this.mdm.ports.log.error('removal.failed', { id, error: String(error) })
      })
      .finally(() => this.#finishing.delete(id))
  }
}
