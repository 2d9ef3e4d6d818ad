import { assert } from '../../base/assert.js'
import { NumberMap } from '../../base/number-map.js'
import { blockBytes, chunkBytes } from '../../base/units.js'

/**
 * One request for a range of one chunk. The fields belong to the table while the request is in it; `lockWant…` is the
 * range that the request needs by itself, `lockFrom` to `lockTo` what it holds or waits for, which may be wider.
 */
export interface LockRequest {
  lockKey: number
  lockFrom: number
  lockTo: number
  lockWantFrom: number
  lockWantTo: number
  lockShared: boolean
  /** Requests ahead of this one that it waits for; 0: it holds the lock. */
  lockWaits: number
  /** Called when a request that had to wait has the lock; never from within `acquire`. */
  lockGranted(): void
  /** Somebody has begun to wait for what this one holds; never called from within `acquire` of this request. */
  lockWanted?(): void
}

/** Sets what `request` asks for: its bytes, widened to the device's blocks, or the whole chunk. */
export function askRange(request: LockRequest, key: number, offset: number, length: number, whole: boolean): void {
  request.lockKey = key
  request.lockWantFrom = offset - (offset % blockBytes)
  request.lockWantTo = Math.ceil((offset + length) / blockBytes) * blockBytes
  request.lockFrom = whole ? 0 : request.lockWantFrom
  request.lockTo = whole ? chunkBytes : request.lockWantTo
}

const conflicts = (one: LockRequest, other: LockRequest): boolean =>
  !(one.lockShared && other.lockShared) && one.lockFrom < other.lockTo && other.lockFrom < one.lockTo

const isWholeWish = (request: LockRequest): boolean =>
  !request.lockShared && request.lockWantFrom === 0 && request.lockWantTo === chunkBytes

/**
 * Range locks of one device, strictly first come, first served: a request waits for every earlier one that it conflicts
 * with, whether that one holds its range or waits too. So nothing starves, and conflicting requests take effect in the
 * order of their arrival. Per chunk one queue of holders and waiters, which is short.
 */
export class RangeLocks {
  readonly #queues = new NumberMap<LockRequest[]>()

  /** Chunks with a holder or a waiter. */
  get chunksNow(): number {
    return this.#queues.size
  }

  /** True: the request holds its range now. False: `lockGranted` will be called. */
  acquire(request: LockRequest): boolean {
    assert(request.lockFrom < request.lockTo && request.lockTo <= chunkBytes, 'a lock lies within its chunk')
    request.lockWaits = 0
    const queue = this.#queues.get(request.lockKey)
    if (queue === undefined) {
      this.#queues.set(request.lockKey, [request])
      return true
    }
    for (const earlier of queue) if (conflicts(earlier, request)) request.lockWaits++
    queue.push(request)
    if (request.lockWaits > 0) for (const earlier of queue) if (earlier !== request) earlier.lockWanted?.()
    return request.lockWaits === 0
  }

  /**
   * Whether somebody holds or waits for the whole chunk exclusively. While that is so nobody can tell whether the chunk
   * will have a slot, so that a change that arrives now asks for the whole chunk as well.
   */
  wholeChunkAsked(key: number): boolean {
    const queue = this.#queues.get(key)
    if (queue === undefined) return false
    for (const request of queue)
      if (!request.lockShared && request.lockFrom === 0 && request.lockTo === chunkBytes) return true
    return false
  }

  /** Whether nobody holds or waits for anything of the chunk. */
  isFree(key: number): boolean {
    return this.#queues.get(key) === undefined
  }

  /** Whether nobody holds or waits for anything of the chunk exclusively. */
  areShared(key: number): boolean {
    const queue = this.#queues.get(key)
    return queue === undefined || queue.every(request => request.lockShared)
  }

  /**
   * Lets go. `allocated`: the chunk has a slot now, so those who asked for the whole chunk only because it had none
   * wait for their own range alone from here on. `heirs` have what they ask for of its range before anybody else; those of
   * them that wait for another heir (`lockWaits`) hear of it as all others do.
   */
  release(request: LockRequest, allocated: boolean, heirs: readonly LockRequest[] = []): void {
    assert(request.lockWaits === 0, 'only a holder lets go')
    const queue = this.#queues.get(request.lockKey)
    const at = queue === undefined ? -1 : queue.indexOf(request)
    assert(queue !== undefined && at >= 0, 'a lock is let go once')
    if (queue.length === 1 && heirs.length === 0) {
      this.#queues.delete(request.lockKey)
      return
    }
    queue.splice(at, 1, ...heirs)
    for (const [i, heir] of heirs.entries())
      heir.lockWaits = heirs.slice(0, i).filter(earlier => conflicts(earlier, heir)).length
    const granted: LockRequest[] = []
    if (allocated && request.lockFrom === 0 && request.lockTo === chunkBytes) relax(queue, granted)
    else
      for (let i = at + heirs.length; i < queue.length; i++) {
        const later = queue[i]!
        for (const heir of heirs) if (conflicts(heir, later)) later.lockWaits++
        if (conflicts(request, later) && --later.lockWaits === 0) granted.push(later)
      }
    for (const holder of granted) holder.lockGranted()
  }
}

/** Narrows waiters to what they need, up to the first one that may take the slot away again, and counts anew. */
function relax(queue: readonly LockRequest[], granted: LockRequest[]): void {
  for (const request of queue) {
    if (isWholeWish(request)) break
    if (request.lockWaits === 0) continue
    request.lockFrom = request.lockWantFrom
    request.lockTo = request.lockWantTo
  }
  for (let i = 0; i < queue.length; i++) {
    const request = queue[i]!
    if (request.lockWaits === 0) continue
    request.lockWaits = 0
    for (let j = 0; j < i; j++) if (conflicts(queue[j]!, request)) request.lockWaits++
    if (request.lockWaits === 0) granted.push(request)
  }
}
