import type { Clock, Timer } from '../ports/index.js'
import type { IoRequest } from './io-request.js'

/**
 * Requests under way, in order of arrival, and their deadlines: with one timeout for all, the first one runs out first.
 */
export class ActiveList {
  #first: IoRequest | null = null
  #last: IoRequest | null = null
  #timer: Timer | null = null
  size = 0

  /** `timeoutMs` null: requests may take for ever. `onTimeout` has to remove the request. */
  constructor(
    readonly clock: Clock,
    readonly timeoutMs: number | null,
    readonly onTimeout: (request: IoRequest) => void,
  ) {}

  add(request: IoRequest): void {
    request.activeNext = null
    request.activeBefore = this.#last
    if (this.#last === null) this.#first = request
    else this.#last.activeNext = request
    this.#last = request
    this.size++
    if (this.timeoutMs === null) return
    request.deadlineMs = this.clock.nowMs() + this.timeoutMs
    if (this.#timer === null) this.#arm(this.timeoutMs)
  }

  remove(request: IoRequest): void {
    if (request.activeBefore === null) this.#first = request.activeNext
    else request.activeBefore.activeNext = request.activeNext
    if (request.activeNext === null) this.#last = request.activeBefore
    else request.activeNext.activeBefore = request.activeBefore
    request.activeNext = null
    request.activeBefore = null
    this.size--
  }

  #arm(delayMs: number): void {
    this.#timer = this.clock.setTimer(delayMs, () => {
      this.#timer = null
      const nowMs = this.clock.nowMs()
      while (this.#first !== null && this.#first.deadlineMs <= nowMs) this.onTimeout(this.#first)
      if (this.#first !== null) this.#arm(this.#first.deadlineMs - nowMs)
    })
  }
}
