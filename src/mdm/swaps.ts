import type { DeviceId, PoolId } from '../base/ids.js'
import type { FillPlan } from '../core/rebuild/index.js'
import type { SliceChange } from '../core/slices/index.js'
import type { Mdm } from './context.js'

type Swap = FillPlan['swaps'][number]

/**
 * A drained slice waits this long for its new record. The primary answers within half of it; if the entry cannot be made
 * within three quarters, the swap is not made at all.
 */
const drainForMs = 4_000
const slicesAtOnce = 64
const pauseMs = 1_000
const pauseAfterFailureMs = 5_000

/** Swaps the roles of two copies in sync, planned: the primary drains the slices, then the swap is committed. */
export class Swaps {
  readonly #notBeforeMs = new Map<PoolId, number>()
  readonly #busy = new Set<PoolId>()

  constructor(readonly mdm: Mdm) {}

  /** Begins with some of them, if it is time. */
  ask(poolId: PoolId, swaps: readonly Swap[]): void {
    const { map, registry, watch, ports } = this.mdm
    if (this.#busy.has(poolId) || ports.clock.nowMs() < (this.#notBeforeMs.get(poolId) ?? 0)) return
    const sdsOf = (id: DeviceId) => map.tables.devices.get(id)?.sdsId
    const sdsId = sdsOf(swaps[0]!.primary)
    const peer = sdsId === undefined || !watch.isLively(sdsId) ? null : registry.sds(sdsId)
    if (!peer) return
    const those = swaps.filter(({ primary }) => sdsOf(primary) === sdsId).slice(0, slicesAtOnce)
    this.#busy.add(poolId)
    const askedMs = ports.clock.nowMs()
    const slices = those.map(({ slice, epoch }) => ({ slice, epoch }))
    peer
      .request('drainSlices', { poolId, slices, forMs: drainForMs }, drainForMs)
      .then(answer => this.#commit(poolId, those, answer, askedMs))
      .catch(error => {
        ports.log.debug('slices.notSwapped', { sds: peer.name, error: String(error) })
        return 0
      })
      .then(swapped => {
        this.#busy.delete(poolId)
        this.#notBeforeMs.set(poolId, ports.clock.nowMs() + (swapped > 0 ? pauseMs : pauseAfterFailureMs))
      })
  }

  async #commit(poolId: PoolId, swaps: readonly Swap[], answer: unknown, askedMs: number): Promise<number> {
    const drained = (answer as { slices?: unknown } | null)?.slices
    if (!Array.isArray(drained)) return 0
    const wanted = swaps.filter(({ slice }) => drained.includes(slice))
    let count = 0
    await this.mdm.proposer.propose('changeSlices', ({ map, epochHigh }) => {
      if (this.mdm.ports.clock.nowMs() - askedMs > drainForMs * 0.75) return null
      const changes: SliceChange[] = []
      for (const { slice, epoch } of wanted) {
        const record = map.slices.get(poolId)?.[slice]
        if (record?.epoch !== epoch || record.secondary === null || record.joining !== null) continue
        const { primary, secondary } = record
        const above = Math.max(epoch, epochHigh.get(poolId) ?? 0) + 1
        changes.push({ replaces: epoch, record: { ...record, primary: secondary, secondary: primary, epoch: above } })
      }
      count = changes.length
      return count > 0 ? { why: 'roles swapped', slices: [{ poolId, changes }], failed: [] } : null
    })
    if (count > 0) this.mdm.ports.log.info('slices.changed', { why: 'roles swapped', slices: count })
    return count
  }
}
