import type { NbdStream } from './stream.js'

const slabBytes = 8 * 1024

interface Batch {
  requests: number
  heldBytes: number
}

/**
 * Replies of one connection, written once per turn in one vectored write. Replies without data are laid side by side in
 * a slab and leave as one piece; a slab is not used again, since the stream may still hold it. A reply counts as unsent,
 * with the memory that it holds, until the stream says that the operating system has it.
 */
export class ReplyQueue {
  readonly #stream: NbdStream
  readonly #onSent: (requests: number, heldBytes: number) => void
  #slab = Buffer.allocUnsafeSlow(0)
  #slabFrom = 0
  #slabTo = 0
  #pieces: Buffer[] = []
  #requests = 0
  #heldBytes = 0
  readonly #batches: Batch[] = []

  constructor(stream: NbdStream, onSent: (requests: number, heldBytes: number) => void) {
    this.#stream = stream
    this.#onSent = onSent
  }

  get isEmpty(): boolean {
    return this.#requests === 0
  }

  /** Where small replies are laid: see `room`. */
  get slab(): Buffer {
    return this.#slab
  }

  /** Makes room for a small reply, to be filled in at once: returns its place in `slab`. */
  room(bytes: number): number {
    if (this.#slabTo + bytes > this.#slab.length) {
      this.#sealSlab()
      this.#slab = Buffer.allocUnsafeSlow(Math.max(slabBytes, bytes))
      this.#slabFrom = 0
      this.#slabTo = 0
    }
    const at = this.#slabTo
    this.#slabTo += bytes
    return at
  }

  /** A reply with its data, header in front. */
  add(reply: Buffer): void {
    this.#pieces.push(reply)
  }

  /** Notes that all of one request's reply is queued. */
  complete(heldBytes: number): void {
    this.#requests++
    this.#heldBytes += heldBytes
  }

  /** Hands what is queued to the stream. */
  flush(): void {
    if (this.#requests === 0) return
    this.#sealSlab()
    const pieces = this.#pieces
    this.#batches.push({ requests: this.#requests, heldBytes: this.#heldBytes })
    this.#pieces = []
    this.#requests = 0
    this.#heldBytes = 0
    const last = pieces.length - 1
    if (last > 0) this.#stream.cork()
    for (let i = 0; i < last; i++) this.#stream.write(pieces[i]!)
    this.#stream.write(pieces[last]!, this.#sent)
    if (last > 0) this.#stream.uncork()
  }

  // Writes end in order, so the oldest batch is the one that has left; on an error `close` follows and nobody counts.
  readonly #sent = (error?: Error | null): void => {
    if (error) return
    const batch = this.#batches.shift()
    if (batch) this.#onSent(batch.requests, batch.heldBytes)
  }

  #sealSlab(): void {
    if (this.#slabTo > this.#slabFrom) this.#pieces.push(this.#slab.subarray(this.#slabFrom, this.#slabTo))
    this.#slabFrom = this.#slabTo
  }
}
