const piecesMax = 256

/** Bytes that have come in and are not used yet. For handshakes: pieces are joined when a whole thing is there. */
export class ByteQueue {
  #pieces: Buffer[] = []
  #bytes = 0

  push(bytes: Buffer): void {
    if (bytes.length === 0) return
    this.#pieces.push(bytes)
    this.#bytes += bytes.length
    // A client that sends single bytes costs bytes, not objects.
    if (this.#pieces.length > piecesMax) this.#pieces = [Buffer.concat(this.#pieces)]
  }

  /** The next `wantBytes`, or null while they are not all there. */
  take(wantBytes: number): Buffer | null {
    if (this.#bytes < wantBytes) return null
    const all = this.takeAll()
    this.push(all.subarray(wantBytes))
    return all.subarray(0, wantBytes)
  }

  /** Drops up to `wantBytes`; returns how many. */
  skip(wantBytes: number): number {
    const skipped = Math.min(wantBytes, this.#bytes)
    this.take(skipped)
    return skipped
  }

  takeAll(): Buffer {
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces)
    this.#pieces = []
    this.#bytes = 0
    return all
  }
}
