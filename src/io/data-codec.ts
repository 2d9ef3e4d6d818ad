import { KiB } from '../base/units.js'
import { type DataFrame, dataHeaderBytes, encodeHeader } from '../wire/data.js'
import { DataParser } from '../wire/data-parser.js'
import { releasePieces } from '../wire/payload-memory.js'

/** Payloads up to this are copied into the slab. */
const copiedBytesMax = 8 * KiB
const slabBytes = 64 * KiB
const nothing: Buffer[] = []

/**
 * Turns the frames of one connection into bytes and back. Headers are written one behind the other into a slab, and small payloads with them, which is cheaper than a piece of
 * their own in the vectored write; what lies between large payloads leaves as one piece. A slab is used from its
 * beginning again when the operating system has everything that was laid into it.
 */
export class DataCodec {
  readonly #parser = new DataParser()
  #pieces: Uint8Array[] = []
  #slab = Buffer.allocUnsafeSlow(slabBytes)
  #from = 0
  #at = 0
  /** Payloads that are ours to release: since the last take, and of each take that has not left yet. */
  #owned: Buffer[] = []
  readonly #ownedOfTakes: Buffer[][] = []

  /**
   * Encodes now: the frame may be changed or used again afterwards, its payload may not. `ownsPayload`: it is released when
   * it has left. Returns its bytes.
   */
  put(frame: DataFrame, ownsPayload = false): number {
    const { bodyBytes } = frame
    const isCopied = bodyBytes <= copiedBytesMax
    const needBytes = isCopied ? dataHeaderBytes + bodyBytes : dataHeaderBytes
    if (this.#at + needBytes > slabBytes) this.#renew()
    encodeHeader(frame, this.#slab, this.#at)
    this.#at += dataHeaderBytes
    if (isCopied) {
      for (const piece of frame.body) this.#at += piece.copy(this.#slab, this.#at)
      if (ownsPayload) releasePieces(frame.body)
    } else {
      this.#endRun()
      for (const piece of frame.body) this.#pieces.push(piece)
      if (ownsPayload) this.#owned.push(...frame.body)
    }
    return dataHeaderBytes + bodyBytes
  }

  /** What was put since the last take, in pieces for one vectored write. Never empty where something was put. */
  take(): Uint8Array[] {
    this.#endRun()
    const pieces = this.#pieces
    this.#pieces = []
    this.#ownedOfTakes.push(this.#owned.length > 0 ? this.#owned : nothing)
    if (this.#owned.length > 0) this.#owned = []
    return pieces
  }

  /** The operating system has all of one take; they end in order. */
  readonly written = (): void => {
    releasePieces(this.#ownedOfTakes.shift()!)
    if (this.#ownedOfTakes.length > 0 || this.#pieces.length > 0 || this.#from !== this.#at) return
    this.#from = 0
    this.#at = 0
  }

  /** Throws PROTOCOL at what is malformed. What outlives this call is pinned, so that the memory may be used again. */
  parse(bytes: Buffer, onMessage: (frame: DataFrame) => void): void {
    this.#parser.push(bytes, onMessage)
  }

  #renew(): void {
    this.#endRun()
    // The old one lives until its last byte has been sent.
    this.#slab = Buffer.allocUnsafeSlow(slabBytes)
    this.#from = 0
    this.#at = 0
  }

  #endRun(): void {
    if (this.#from === this.#at) return
    this.#pieces.push(this.#slab.subarray(this.#from, this.#at))
    this.#from = this.#at
  }
}
