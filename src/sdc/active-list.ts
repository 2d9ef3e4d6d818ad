import type { IoRequest } from './io-request.js'

/** Requests under way, in order of arrival; with one timeout for all, also in order of their deadlines. */
export class ActiveList {
  first: IoRequest | null = null
  #last: IoRequest | null = null
  size = 0

  add(request: IoRequest): void {
    request.activeNext = null
    request.activeBefore = this.#last
    if (this.#last === null) this.first = request
    else this.#last.activeNext = request
    this.#last = request
    this.size++
  }

  remove(request: IoRequest): void {
    if (request.activeBefore === null) this.first = request.activeNext
    else request.activeBefore.activeNext = request.activeNext
    if (request.activeNext === null) this.#last = request.activeBefore
    else request.activeNext.activeBefore = request.activeBefore
    request.activeNext = null
    request.activeBefore = null
    this.size--
  }
}
