import { KiB } from '../../base/units.js'

const slabBytes = 128 * KiB
const cutBytesMax = 32 * KiB

/**
 * Memory for the answers to reads. Small ones are cut off a slab, which spares an allocation per read; nothing is ever
 * cut twice, so memory that the stream has not yet sent cannot change. A slab goes when its last piece does; it is small,
 * because every idle connection keeps one.
 */
export class ReadSlabs {
  #slab = Buffer.allocUnsafeSlow(0)
  #used = 0

  take(bytes: number): Buffer {
    if (bytes > cutBytesMax) return Buffer.allocUnsafeSlow(bytes)
    if (this.#used + bytes > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(slabBytes)
      this.#used = 0
    }
    const from = this.#used
    this.#used += bytes
    return this.#slab.subarray(from, this.#used)
  }
}
