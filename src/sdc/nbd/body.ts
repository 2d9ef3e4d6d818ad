import { cutPinned } from '../../wire/payload-memory.js'
import { smallPartBytes } from './limits.js'

const gatherBytes = 16 * 1024

/**
 * The payload of one write as it comes in: cuts of what was read, pinned. Only small parts are copied together, so that
 * the number of pieces is bounded by the payload's length, however the client cuts it.
 */
export class BodyPieces {
  #pieces: Buffer[] = []
  #gather: Buffer | null = null
  #gathered = 0

  /** Takes `bytes` from `from` to `to`; `missingBytes` counts it and everything that is still to come. */
  add(bytes: Buffer, from: number, to: number, missingBytes: number): void {
    const alone = this.#gather === null && to - from === missingBytes
    if (alone || to - from >= smallPartBytes) {
      this.#seal()
      this.#pieces.push(cutPinned(bytes, from, to))
      return
    }
    let at = from
    while (at < to) {
      this.#gather ??= Buffer.allocUnsafeSlow(Math.min(gatherBytes, missingBytes - (at - from)))
      const copied = bytes.copy(this.#gather, this.#gathered, at, to)
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
