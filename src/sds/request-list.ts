import { assert } from '../base/assert.js'

/** What can be in one list at a time. The fields are the list's. */
export interface Listed<Item> {
  listBefore: Item | null
  listAfter: Item | null
  isListed: boolean
}

/**
 * Requests in order of arrival. Made of the requests themselves, as a `Set` would keep those that have ended alive (see
 * `NumberMap`); who leaves knows nobody any more.
 */
export class RequestList<Item extends Listed<Item>> implements Iterable<Item> {
  #first: Item | null = null
  #last: Item | null = null
  #size = 0

  get size(): number {
    return this.#size
  }

  add(item: Item): void {
    assert(!item.isListed, 'a request is in the list once')
    item.isListed = true
    item.listBefore = this.#last
    if (this.#last === null) this.#first = item
    else this.#last.listAfter = item
    this.#last = item
    this.#size++
  }

  delete(item: Item): void {
    assert(item.isListed, 'who leaves was in the list')
    if (item.listBefore === null) this.#first = item.listAfter
    else item.listBefore.listAfter = item.listAfter
    if (item.listAfter === null) this.#last = item.listBefore
    else item.listAfter.listBefore = item.listBefore
    item.listBefore = item.listAfter = null
    item.isListed = false
    this.#size--
  }

  /** The one that was handed out last may leave meanwhile; for others to leave, copy the list first. */
  *[Symbol.iterator](): Iterator<Item> {
    for (let item = this.#first; item !== null; ) {
      const after: Item | null = item.listAfter
      yield item
      item = after
    }
  }
}
