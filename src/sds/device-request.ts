import { assert } from '../base/assert.js'
import { chunkKey } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes } from '../base/units.js'
import { askRange, type LockRequest } from '../core/sds/index.js'
import type { AckGate } from './map-ack.js'
import type { OwnDevice } from './own-device.js'
import type { Listed } from './request-list.js'

let aloneNext = 1

/**
 * Whatever touches a device: it asks for a range lock in its order of arrival, keeps it until the disk has answered,
 * and is found in `device.active` in between.
 */
export abstract class DeviceRequest implements LockRequest, Listed<DeviceRequest> {
  lockKey = 0
  lockFrom = 0
  lockTo = 0
  lockWantFrom = 0
  lockWantTo = 0
  lockShared = false
  lockWaits = 0
  listBefore: DeviceRequest | null = null
  listAfter: DeviceRequest | null = null
  isListed = false
  /** The map acknowledgement that waits for this request's end. */
  gate: AckGate | null = null
  /** Number of the mapping that the request relies on, 0 between servers. */
  mapping = 0
  /** Part of an application's I/O, which fills make way for. */
  isApplication = false
  #isHolding = false

  constructor(
    readonly device: OwnDevice,
    readonly volume: number,
    readonly chunk: number,
  ) {}

  abstract lockGranted(): void
  /** Somebody waits for what this one holds. */
  lockWanted(): void {}
  /** For planted bugs: the request meets nobody. */
  protected lockAlone(): void {
    this.#alone = -(2 ** 52) + aloneNext++
  }
  #alone = 0

  /** For what another one has begun and leaves to this one, with `end`: the lock is held as soon as that one has ended. */
  inherit(offset: number, length: number): void {
    askRange(this, chunkKey(this.volume, this.chunk), offset, length, false)
    this.device.active.add(this)
    this.#isHolding = true
  }
  /** The configuration changed while the request holds or waits for its lock. */
  mapChanged(): void {}

  /** Whether the lock is held. */
  protected get holdsLock(): boolean {
    return this.#isHolding && this.lockWaits === 0
  }

  /** For what changes nothing. */
  protected beginShared(offset: number, length: number): void {
    this.lockShared = true
    askRange(this, chunkKey(this.volume, this.chunk), offset, length, false)
    this.#begin()
  }

  /**
   * For changes. While the chunk has no slot, or somebody ahead may take it away or give it one, the whole chunk is
   * asked for: so a change that finds itself with a part of the chunk locked also finds the chunk allocated.
   */
  protected beginExclusive(offset: number, length: number): void {
    const key = chunkKey(this.volume, this.chunk)
    const whole = !this.device.store.has(this.volume, this.chunk) || this.device.locks.wholeChunkAsked(key)
    askRange(this, key, offset, length, whole)
    if (!mutate('keep-passes-over-changes')) this.device.passes.void(this.volume, this.chunk)
    this.#begin()
  }

  #begin(): void {
    if (this.#alone !== 0) this.lockKey = this.#alone
    this.device.active.add(this)
    this.#isHolding = true
    if (this.device.locks.acquire(this)) this.lockGranted()
  }

  /** True if the lock covers the whole chunk, as allocating and removing need. */
  protected get holdsWholeChunk(): boolean {
    return !this.lockShared && this.lockFrom === 0 && this.lockTo === chunkBytes
  }

  /** Lets go of the lock. Once. */
  protected end(heirs: readonly DeviceRequest[] = []): void {
    assert(this.#isHolding, 'a request ends once')
    this.#isHolding = false
    const isAllocated = !this.lockShared && this.device.store.has(this.volume, this.chunk)
    this.device.locks.release(this, isAllocated, heirs)
    // One that is granted may end at once, and another one be granted for that.
    for (const heir of heirs.filter(({ lockWaits }) => lockWaits === 0)) heir.lockGranted()
    if (this.isApplication) this.device.applicationEnded(this.lockWantTo - this.lockWantFrom)
    this.device.finished(this)
    this.gate?.requestEnded()
  }
}
