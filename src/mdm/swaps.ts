import type { DeviceId, PoolId, SdsId } from '../base/ids.js'
import type { SliceReason } from '../core/mdm/index.js'
import { type RoleSwap, swappedRecords, swapsWhere } from '../core/slices/index.js'
import type { Mdm } from './context.js'
import type { Peer } from './peer.js'

/**
 * A drained slice waits this long for its new record. The primary answers within half of it; if the entry cannot be made
 * within three quarters, the swap is not made at all.
 */
const drainForMs = 4_000
/** Slices whose roles change at the same time: the clients of all of them have to ask again. */
const slicesAtOnce = { wished: 64, urgent: 256 }
const pauseMs = 1_000
const pauseAfterFailureMs = 5_000
/** Whoever hands over is about to stop, and waits no longer than this. */
const handOverMsMax = 5_000

type SwapReason = Extract<SliceReason, 'roles swapped' | 'roles handed over' | 'primary out of reach'>

/** Swaps the roles of two copies in sync, planned: the primary drains the slices, then the swap is committed. */
export class Swaps {
  readonly #notBeforeMs = new Map<PoolId, number>()
  readonly #busy = new Set<PoolId>()

  constructor(readonly mdm: Mdm) {}

  /** Begins with some of them, if it is time. */
  ask(poolId: PoolId, swaps: readonly RoleSwap[], why: SwapReason): void {
    const { clock } = this.mdm.ports
    if (this.#busy.has(poolId) || clock.nowMs() < (this.#notBeforeMs.get(poolId) ?? 0)) return
    const sdsId = this.#sdsOf(swaps[0]!.primary)
    const peer = sdsId === null ? null : this.#livelyPeer(sdsId)
    if (!peer) return
    const atOnce = why === 'roles swapped' ? slicesAtOnce.wished : slicesAtOnce.urgent
    const those = swaps.filter(({ primary }) => this.#sdsOf(primary) === sdsId).slice(0, atOnce)
    this.#busy.add(poolId)
    void this.#swap(poolId, peer, those, why).then(swapped => {
      this.#busy.delete(poolId)
      this.#notBeforeMs.set(poolId, clock.nowMs() + (swapped > 0 ? pauseMs : pauseAfterFailureMs))
    })
  }

  /**
   * What an SDS leads goes to the other copies, as far as they can take it, and nothing is given to it any more: it is
   * about to stop, or to enter maintenance. Resolves when that is done, or cannot be, or takes too long.
   */
  async handOver(sdsId: SdsId): Promise<void> {
    const peer = this.#livelyPeer(sdsId)
    if (!peer) return
    peer.isLeaving = true
    const { map, ports } = this.mdm
    const endMs = ports.clock.nowMs() + handOverMsMax
    for (const poolId of [...map.slices.keys()])
      for (let swapped = 1; swapped > 0 && ports.clock.nowMs() < endMs; ) {
        const led = swapsWhere(
          map.slices.get(poolId) ?? [],
          (primary, secondary) => this.#sdsOf(primary) === sdsId && this.#canTake(secondary, primary),
        )
        swapped =
          led.length === 0 ? 0 : await this.#swap(poolId, peer, led.slice(0, slicesAtOnce.urgent), 'roles handed over')
      }
  }

  #canTake(secondary: DeviceId, primary: DeviceId): boolean {
    const { watch, registry } = this.mdm
    const sdsId = this.#sdsOf(secondary)
    if (sdsId === null || !watch.isLively(sdsId) || !watch.isPresent(secondary)) return false
    return !registry.isLeaving(sdsId) && !watch.arePartedNow(primary, secondary)
  }

  /** Answers how many roles were swapped; what could not be done is tried again by whoever wants it. */
  async #swap(poolId: PoolId, peer: Peer, swaps: readonly RoleSwap[], why: SwapReason): Promise<number> {
    const { clock, log } = this.mdm.ports
    const askedMs = clock.nowMs()
    const slices = swaps.map(({ slice, epoch }) => ({ slice, epoch }))
    try {
      const answer = await peer.request('drainSlices', { poolId, slices, forMs: drainForMs }, drainForMs)
      return await this.#commit(poolId, swaps, answer, askedMs, why)
    } catch (error) {
      log.debug('slices.notSwapped', { sds: peer.name, error: String(error) })
      return 0
    }
  }

  async #commit(
    poolId: PoolId,
    swaps: readonly RoleSwap[],
    answer: unknown,
    askedMs: number,
    why: SwapReason,
  ): Promise<number> {
    const { clock, log } = this.mdm.ports
    const drained = (answer as { slices?: unknown } | null)?.slices
    if (!Array.isArray(drained)) return 0
    const wanted = swaps.filter(({ slice }) => drained.includes(slice))
    let count = 0
    await this.mdm.proposer.propose('changeSlices', ({ map, epochHigh }) => {
      if (clock.nowMs() - askedMs > drainForMs * 0.75) return null
      const changes = swappedRecords(map.slices.get(poolId) ?? [], wanted, epochHigh.get(poolId) ?? 0)
      count = changes.length
      return count > 0 ? { why, slices: [{ poolId, changes }], failed: [] } : null
    })
    if (count > 0) log.info('slices.changed', { why, slices: count })
    return count
  }

  #livelyPeer(sdsId: SdsId): Peer | null {
    return this.mdm.watch.isLively(sdsId) ? this.mdm.registry.sds(sdsId) : null
  }

  #sdsOf(deviceId: DeviceId): SdsId | null {
    return this.mdm.map.tables.devices.get(deviceId)?.sdsId ?? null
  }
}
