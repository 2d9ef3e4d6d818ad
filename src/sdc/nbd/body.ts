import { smallPartBytes } from './limits.js'

const gatherBytes = 16 * 1024

/**
 * The payload of one write as it comes in: subarrays of what was read. Only small parts are copied together, so that the
 * number of pieces is bounded by the payload's length, however the client cuts it.
 */
export class BodyPieces {
  #pieces: Buffer[] = []
  #gather: Buffer | null = null
  #gathered = 0

  /** Takes a part; `missingBytes` counts it and everything that is still to come. */
  add(part: Buffer, missingBytes: number): void {
    const alone = this.#gather === null && part.length === missingBytes
    if (alone || part.length >= smallPartBytes) {
      this.#seal()
      this.#pieces.push(part)
      return
    }
    let at = 0
    while (at < part.length) {
      this.#gather ??= Buffer.allocUnsafeSlow(Math.min(gatherBytes, missingBytes - at))
      const copied = part.copy(this.#gather, this.#gathered, at)
      at += copied
      this.#gathered += copied
      if (this.#gathered === this.#gather.length) this.#seal()
    }
  }

  /** The whole payload; the next `add` begins another one. */
  take(): Buffer[] {
    this.#seal()
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  #seal(): void {
    if (this.#gather !== null) this.#pieces.push(this.#gather.subarray(0, this.#gathered))
    this.#gather = null
    this.#gathered = 0
  }
}
