import type { DeviceId, PoolId, SdcId, SdsId } from '../base/ids.js'
import {
  type Damping,
  leadsBetter,
  mayTakePart,
  noteOut,
  noteReturned,
  openDamping,
  outOfReach,
  type SdcReach,
} from '../core/membership/index.js'
import { type RoleSwap, swapsWhere } from '../core/slices/index.js'
import type { MdmNotices } from '../wire/control.js'
import type { Mdm } from './context.js'

/**
 * What SDCs say of the SDSs that they do not reach, and who is to lead instead (design section 5, partitions). Whoever was
 * out of reach leads again only when all SDCs reach it, and later each time.
 */
export class Reach {
  readonly #reaches = new Map<SdcId, SdcReach>()
  readonly #dampings = new Map<SdsId, Damping>()

  constructor(readonly mdm: Mdm) {}

  heard(sdcId: SdcId, { unreachable, reached }: MdmNotices['sdcReach']): void {
    const atMs = this.mdm.ports.clock.nowMs()
    const ids = (list: readonly string[]) => new Set(list as readonly SdsId[])
    this.#reaches.set(sdcId, { atMs, unreachable: ids(unreachable), reached: ids(reached) })
  }

  /** Before each plan: who is out of reach now, and who is back. */
  look(): void {
    const { map, ports } = this.mdm
    const nowMs = ports.clock.nowMs()
    const out = outOfReach(this.#reaches, map.tables.sdcs.keys() as Iterable<SdcId>, nowMs)
    for (const sdsId of out) {
      const damping = this.#dampings.get(sdsId) ?? openDamping()
      this.#dampings.set(sdsId, damping)
      if (!damping.isOut) ports.log.warn('sds.outOfReach', { sds: map.tables.sdss.get(sdsId)?.name })
      noteOut(damping, nowMs)
    }
    for (const [sdsId, damping] of this.#dampings) if (!out.has(sdsId)) noteReturned(damping, nowMs)
    for (const sdcId of this.#reaches.keys()) if (!map.tables.sdcs.has(sdcId)) this.#reaches.delete(sdcId)
  }

  /** The device's SDS may be given slices to lead: every SDC reaches it, and has for long enough. */
  mayLead(deviceId: DeviceId): boolean {
    const sdsId = this.#sdsOf(deviceId)
    const damping = sdsId === null ? undefined : this.#dampings.get(sdsId)
    return damping === undefined || mayTakePart(damping, this.mdm.ports.clock.nowMs())
  }

  /** Slices of the pool that are to be led by the other copy, because the pool's SDCs reach that one. */
  swapsOf(poolId: PoolId): RoleSwap[] {
    const { map, watch, registry, ports } = this.mdm
    const nowMs = ports.clock.nowMs()
    const sdcIds = this.#sdcsOf(poolId)
    const out = outOfReach(this.#reaches, sdcIds, nowMs)
    if (out.size === 0) return []
    return swapsWhere(map.slices.get(poolId) ?? [], (first, second) => {
      const [primary, secondary] = [this.#sdsOf(first), this.#sdsOf(second)]
      if (primary === null || secondary === null || !out.has(primary)) return false
      // One that the MDM does not hear either is convicted or left alone, as its partners say.
      if (!watch.isLively(primary) || !watch.isLively(secondary) || !watch.isPresent(second)) return false
      if (registry.isLeaving(secondary)) return false
      return leadsBetter(this.#reaches, sdcIds, { primary, secondary }, nowMs)
    })
  }

  #sdcsOf(poolId: PoolId): Set<SdcId> {
    const { volumes, mappings } = this.mdm.map.tables
    const sdcIds = new Set<SdcId>()
    for (const { volumeId, sdcId } of mappings.values()) if (volumes.get(volumeId)?.poolId === poolId) sdcIds.add(sdcId)
    return sdcIds
  }

  #sdsOf(deviceId: DeviceId): SdsId | null {
    return this.mdm.map.tables.devices.get(deviceId)?.sdsId ?? null
  }
}
