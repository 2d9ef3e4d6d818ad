import { type Limits, Throttle } from '../core/qos/index.js'
import type { Clock, Timer } from '../ports/index.js'
import type { IoRequest } from './io-request.js'

/** The throttle of one mapping with its timer: requests pass at once, or when their turn comes. */
export class ThrottleGate {
  readonly #throttle: Throttle<IoRequest>
  #timer: Timer | null = null

  /** `pass` is called for requests that had to wait. */
  constructor(
    readonly clock: Clock,
    limits: Limits,
    readonly pass: (request: IoRequest) => void,
  ) {
    this.#throttle = new Throttle(limits, clock.nowMs())
  }

  /** Nothing is limited, and nothing waits. */
  get isOpen(): boolean {
    return !this.#throttle.limited && this.#throttle.queueLength === 0
  }
  get queueLength(): number {
    return this.#throttle.queueLength
  }

  /** True if the request may go on at once; else it waits here. */
  admit(request: IoRequest): boolean {
    if (this.#throttle.admit(request, this.clock.nowMs())) return true
    request.throttled = true
    this.#arm()
    return false
  }

  setLimits(limits: Limits): void {
    this.#throttle.setLimits(limits, this.clock.nowMs())
    this.#release()
  }

  /** Nothing passes any more; returns what waits, in order. */
  close(): IoRequest[] {
    this.#timer?.cancel()
    const waiting: IoRequest[] = []
    for (let request = this.#throttle.drain(); request !== null; request = this.#throttle.drain()) {
      request.throttled = false
      waiting.push(request)
    }
    return waiting
  }

  readonly #release = (): void => {
    this.#timer?.cancel()
    this.#timer = null
    const nowMs = this.clock.nowMs()
    for (let request = this.#throttle.next(nowMs); request !== null; request = this.#throttle.next(nowMs)) {
      request.throttled = false
      this.pass(request)
    }
    this.#arm()
  }

  #arm(): void {
    if (this.#timer !== null) return
    const waitMs = this.#throttle.waitMs(this.clock.nowMs())
    if (waitMs !== Number.POSITIVE_INFINITY) this.#timer = this.clock.setTimer(waitMs, this.#release)
  }
}
