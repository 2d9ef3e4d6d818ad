import type { DeviceId, PoolId, SdcId, SdsId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import type { ClusterMap, Endpoint, SliceRecord } from '../model/index.js'
import type { MdmNotices } from '../wire/control.js'
import type { Peer } from './peer.js'

export type DeviceUsage = MdmNotices['sdsStatus']['devices'][number]
export type SdcExport = MdmNotices['sdcStatus']['exports'][number]

/** What is true now and is not configuration: who is connected, and what they report. Lost with the process. */
export class Registry {
  readonly peers = new Set<Peer>()
  readonly #sdss = new Map<SdsId, Peer>()
  readonly #sdcs = new Map<SdcId, Peer>()
  /** The last reports; of devices whose SDS is away, the last known. */
  readonly usage = new Map<string, DeviceUsage>()
  readonly exports = new Map<SdcId, SdcExport[]>()
  /** The last map version that an SDS or SDC had in effect, also of those that are away: what they stopped, stopped. */
  readonly acked = new Map<string, number>()

  constructor(readonly map: ClusterMap) {}

  /** The newest connection of a daemon wins; returns the older one, which is to be closed. */
  claimSds(sdsId: SdsId, peer: Peer): Peer | null {
    const older = this.#sdss.get(sdsId) ?? null
    this.#sdss.set(sdsId, peer)
    peer.sdsId = sdsId
    return older === peer ? null : older
  }

  claimSdc(sdcId: SdcId, peer: Peer): Peer | null {
    const older = this.#sdcs.get(sdcId) ?? null
    this.#sdcs.set(sdcId, peer)
    peer.sdcId = sdcId
    return older === peer ? null : older
  }

  /** The connection of an SDS whose registration is committed. */
  sds(sdsId: SdsId): Peer | null {
    const peer = this.#sdss.get(sdsId)
    return peer?.registered && !peer.closed ? peer : null
  }

  sdc(sdcId: SdcId): Peer | null {
    const peer = this.#sdcs.get(sdcId)
    return peer?.registered && !peer.closed ? peer : null
  }

  /** An SDS daemon that is connected but not part of the system. */
  stranger({ host, port }: Endpoint): Peer | null {
    for (const peer of this.peers)
      if (peer.role === 'sds' && peer.sdsId === null && peer.endpoint?.host === host && peer.endpoint.port === port)
        return peer
    return null
  }

  remove(peer: Peer): void {
    this.peers.delete(peer)
    if (peer.sdsId && this.#sdss.get(peer.sdsId) === peer) this.#sdss.delete(peer.sdsId)
    if (peer.sdcId && this.#sdcs.get(peer.sdcId) === peer) {
      this.#sdcs.delete(peer.sdcId)
      this.exports.delete(peer.sdcId)
    }
  }

  forgetSds(sdsId: SdsId): void {
    this.#sdss.delete(sdsId)
  }

  isLeaving(sdsId: SdsId): boolean {
    return this.sds(sdsId)?.isLeaving ?? false
  }

  /** The device's SDS is connected and has it open. */
  isPresent(deviceId: DeviceId): boolean {
    const device = this.map.tables.devices.get(deviceId)
    return device !== undefined && (this.sds(device.sdsId)?.devices.has(deviceId) ?? false)
  }

  /** What is written to thin volumes of a pool, counted once. */
  thinAllocatedBytes(poolId: PoolId): number {
    return Math.ceil(this.#sum(poolId, usage => usage.thinChunks) / 2) * chunkBytes
  }

  /** Slots that hold something, both copies. */
  inUseBytes(poolId: PoolId): number {
    return this.#sum(poolId, usage => usage.slotsUsed) * chunkBytes
  }

  /** Chunks that a device can still take, as far as it is known. */
  freeChunks(deviceId: DeviceId): number {
    const usage = this.usage.get(deviceId)
    if (usage) return Math.max(0, usage.slotsTotal - usage.slotsUsed)
    return Math.floor((this.map.tables.devices.get(deviceId)?.capacityBytes ?? 0) / chunkBytes)
  }

  /** Chunks that primaries of the pool have still to copy to joining copies. */
  fillChunksLeft(poolId: PoolId): number {
    return this.#sum(poolId, usage => usage.resyncChunksLeft)
  }

  /** The slice's primary says that the copy that joins in this epoch has no room. */
  isJoiningFull(poolId: PoolId, slice: number, epoch: number): boolean {
    const primary = this.map.slices.get(poolId)?.[slice]?.primary
    const full = primary === undefined ? undefined : this.usage.get(primary)?.joiningFull
    return full?.some(one => one.slice === slice && one.epoch === epoch) ?? false
  }

  /** One of the two copies says that they may differ in this epoch. */
  isUnsound({ primary, secondary, slice, epoch }: SliceRecord): boolean {
    if (secondary === null) return false
    const says = (id: DeviceId) => this.usage.get(id)?.unsound?.some(one => one.slice === slice && one.epoch === epoch)
    return says(primary) || says(secondary) || false
  }

  get someUnsound(): boolean {
    for (const { unsound } of this.usage.values()) if (unsound !== undefined && unsound.length > 0) return true
    return false
  }

  #sum(poolId: PoolId, pick: (usage: DeviceUsage) => number): number {
    let sum = 0
    for (const device of this.map.tables.devices.values()) {
      const usage = device.poolId === poolId ? this.usage.get(device.id) : undefined
      if (usage) sum += pick(usage)
    }
    return sum
  }
}
