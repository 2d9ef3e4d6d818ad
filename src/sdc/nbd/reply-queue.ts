import { assert } from '../../base/assert.js'
import { KiB } from '../../base/units.js'
import { releasePiece, releasePieces, type Slab, slabBytesSmall, takeSlab, unpin } from '../../wire/payload-memory.js'
import type { NbdStream } from './stream.js'

/** Reads up to this are copied in among the small replies, which is cheaper than a piece of their own. */
const copiedBytesMax = 9 * KiB

interface Batch {
  requests: number
  heldBytes: number
  /** Memory that the stream has until the batch has left. */
  answers: Buffer[]
  slabs: Slab[]
}

/**
 * Replies of one connection, written once per turn in one vectored write. Small replies are laid side by side in a slab
 * and leave as one piece. A reply counts as unsent, with the memory that it holds, until the stream says that the
 * operating system has it; its memory is used again then.
 */
export class ReplyQueue {
  readonly #stream: NbdStream
  readonly #onSent: (requests: number, heldBytes: number) => void
  #slab: Slab | null = null
  #slabFrom = 0
  #slabTo = 0
  #pieces: Buffer[] = []
  #next: Batch = newBatch()
  readonly #batches: Batch[] = []

  constructor(stream: NbdStream, onSent: (requests: number, heldBytes: number) => void) {
    this.#stream = stream
    this.#onSent = onSent
  }

  get isEmpty(): boolean {
    return this.#next.requests === 0
  }

  /** Where small replies are laid: see `room`. */
  get slab(): Buffer {
    return this.#slab!.bytes
  }

  /** Makes room for a small reply, to be filled in at once: returns its place in `slab`. */
  room(bytes: number): number {
    assert(bytes <= slabBytesSmall, 'a small reply fits into a slab')
    if (this.#slab === null || this.#slabTo + bytes > slabBytesSmall) {
      this.#sealSlab()
      if (this.#slab !== null) this.#next.slabs.push(this.#slab)
      this.#slab = takeSlab(slabBytesSmall)
      this.#slabFrom = 0
      this.#slabTo = 0
    }
    const at = this.#slabTo
    this.#slabTo += bytes
    return at
  }

  /** A reply with its data, header in front, in memory of `takePayload`. The queue has it from now on. */
  add(reply: Buffer): void {
    if (reply.length <= copiedBytesMax) {
      const at = this.room(reply.length)
      reply.copy(this.slab, at)
      releasePiece(reply)
    } else {
      this.#pieces.push(reply)
      this.#next.answers.push(reply)
    }
  }

  /** Notes that all of one request's reply is queued. */
  complete(heldBytes: number): void {
    this.#next.requests++
    this.#next.heldBytes += heldBytes
  }

  /** Hands what is queued to the stream. */
  flush(): void {
    if (this.#next.requests === 0) return
    this.#sealSlab()
    const pieces = this.#pieces
    this.#pieces = []
    this.#batches.push(this.#next)
    this.#next = newBatch()
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
    if (!batch) return
    releasePieces(batch.answers)
    for (const slab of batch.slabs) unpin(slab)
    if (this.#batches.length === 0 && this.isEmpty) this.#leaveSlab()
    this.#onSent(batch.requests, batch.heldBytes)
  }

  /** Nothing in it is on its way: an idle connection holds none. */
  #leaveSlab(): void {
    if (this.#slab !== null) unpin(this.#slab)
    this.#slab = null
    this.#slabFrom = 0
    this.#slabTo = 0
  }

  #sealSlab(): void {
    if (this.#slab !== null && this.#slabTo > this.#slabFrom)
      this.#pieces.push(this.#slab.bytes.subarray(this.#slabFrom, this.#slabTo))
    this.#slabFrom = this.#slabTo
  }
}

const newBatch = (): Batch => ({ requests: 0, heldBytes: 0, answers: [], slabs: [] })
