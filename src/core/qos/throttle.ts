import { KiB } from '../../base/units.js'
import type { Limits } from './effective-limits.js'
import { emptyBucket, fillBucket, setBucketRate, type TokenBucket, takeTokens, waitMsFor } from './token-bucket.js'

/** A request as the throttle sees it. It is its own link of the queue, so that waiting costs no allocation. */
export interface Throttled {
  /** Bytes that count against the bandwidth; 0 for requests without payload. */
  costBytes: number
  nextThrottled: Throttled | null
}

/**
 * The two buckets of one mapping and the requests that wait for them, first come, first served. Each request costs one
 * I/O and its bytes, both taken when both are there. Time is an argument; whoever owns the throttle sets the timer.
 */
export class Throttle<Request extends Throttled> {
  readonly #iops: TokenBucket
  readonly #bytes: TokenBucket
  #first: Request | null = null
  #last: Request | null = null
  #length = 0

  constructor(limits: Limits, nowMs: number) {
    this.#iops = emptyBucket(limits.iops, nowMs)
    this.#bytes = emptyBucket(limits.bandwidthKbPerSec * KiB, nowMs)
  }

  get queueLength(): number {
    return this.#length
  }

  get limited(): boolean {
    return this.#iops.ratePerSec !== 0 || this.#bytes.ratePerSec !== 0
  }

  /** Takes effect for what waits, too; nothing is lost. */
  setLimits(limits: Limits, nowMs: number): void {
    const bytesPerSec = limits.bandwidthKbPerSec * KiB
    if (limits.iops !== this.#iops.ratePerSec) setBucketRate(this.#iops, limits.iops, nowMs)
    if (bytesPerSec !== this.#bytes.ratePerSec) setBucketRate(this.#bytes, bytesPerSec, nowMs)
  }

  /** True if the request may start now; else it waits, and `next` will return it. */
  admit(request: Request, nowMs: number): boolean {
    if (this.#first === null && this.#tryTake(request, nowMs)) return true
    request.nextThrottled = null
    if (this.#last === null) this.#first = request
    else this.#last.nextThrottled = request
    this.#last = request
    this.#length++
    return false
  }

  /** The request that may start now, if one may; call until null. */
  next(nowMs: number): Request | null {
    const first = this.#first
    if (first === null || !this.#tryTake(first, nowMs)) return null
    return this.#shift()
  }

  /** Ms until `next` has something to return; Infinity if nothing waits. */
  waitMs(nowMs: number): number {
    const first = this.#first
    if (first === null) return Number.POSITIVE_INFINITY
    fillBucket(this.#iops, nowMs)
    fillBucket(this.#bytes, nowMs)
    return Math.max(waitMsFor(this.#iops, 1), waitMsFor(this.#bytes, first.costBytes))
  }

  /** Takes out what waits, in order, whatever the limits: the volume goes away. */
  drain(): Request | null {
    return this.#first === null ? null : this.#shift()
  }

  #shift(): Request {
    const first = this.#first!
    this.#first = first.nextThrottled as Request | null
    if (this.#first === null) this.#last = null
    first.nextThrottled = null
    this.#length--
    return first
  }

  #tryTake(request: Request, nowMs: number): boolean {
    if (!this.limited) return true
    fillBucket(this.#iops, nowMs)
    fillBucket(this.#bytes, nowMs)
    if (waitMsFor(this.#iops, 1) > 0 || waitMsFor(this.#bytes, request.costBytes) > 0) return false
    takeTokens(this.#iops, 1)
    takeTokens(this.#bytes, request.costBytes)
    return true
  }
}
