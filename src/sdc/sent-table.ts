import { assert } from '../base/assert.js'

/** From here on request ids are the relay's, see native/src/relay.cc. */
export const relayIdsFrom = 2 ** 31

/**
 * Requests that are on a connection, by request id: slot in the low bits, a generation above. A slot is used again only
 * when the other side has answered, so the table bounds what it may hold.
 */
export class SentTable<Item extends object> {
  readonly #items: (Item | null)[]
  /** By slot; 0: free. */
  readonly #ids: Uint32Array
  readonly #free: number[] = []
  readonly #slotBits: number
  #generation = 0

  constructor(readonly slots: number) {
    this.#slotBits = Math.log2(slots)
    assert(Number.isInteger(this.#slotBits), 'a request id is made of whole bits')
    this.#items = new Array<Item | null>(slots).fill(null)
    this.#ids = new Uint32Array(slots)
    this.clear()
  }

  get isFull(): boolean {
    return this.#free.length === 0
  }
  get size(): number {
    return this.slots - this.#free.length
  }

  /** Takes a slot; returns the request id to send. */
  add(item: Item): number {
    const slot = this.#free.pop()
    assert(slot !== undefined, 'the sender looks whether there is room')
    const generations = relayIdsFrom / 2 ** this.#slotBits
    this.#generation = (this.#generation + 1) % generations || 1
    const requestId = ((this.#generation << this.#slotBits) | slot) >>> 0
    this.#items[slot] = item
    this.#ids[slot] = requestId
    return requestId
  }

  /** Nobody waits for this answer any more; the slot stays taken until it comes. */
  forget(requestId: number): void {
    this.#items[requestId & (this.slots - 1)] = null
  }

  /** The answer came: frees the slot. undefined: nothing was sent with this id; null: it was forgotten. */
  take(requestId: number): Item | null | undefined {
    const slot = requestId & (this.slots - 1)
    if (this.#ids[slot] !== requestId || requestId === 0) return undefined
    const item = this.#items[slot]!
    this.#items[slot] = null
    this.#ids[slot] = 0
    this.#free.push(slot)
    return item
  }

  /** The connection ended: no answer will come. */
  clear(): void {
    this.#items.fill(null)
    this.#ids.fill(0)
    this.#free.length = 0
    for (let slot = this.slots - 1; slot >= 0; slot--) this.#free.push(slot)
  }
}
