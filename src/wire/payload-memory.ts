import { assert } from '../base/assert.js'
import { KiB, MiB } from '../base/units.js'

/**
 * Memory that sockets read into, used again instead of collected: at a gigabyte a second, garbage that lies outside the
 * heap makes V8 collect many times a second. Whoever keeps a cut of a slab has pinned it; a slab whose last pin is gone is
 * used again. Who forgets a release only leaves the slab to the collector; who releases early gives away bytes that
 * are still in use, so `releasePieces` is for payloads that have been consumed, on every path.
 */
export interface Slab {
  bytes: Buffer
  pins: number
}

const slabOf = new WeakMap<ArrayBufferLike, Slab>()

/** What released memory is filled with in tests. */
const poison = 0xdb
let poisons = false
/** While memory is poisoned: what has been released, which must not happen twice. */
let released = new WeakSet<Buffer>()

/**
 * For tests and simulations: released memory is overwritten at once, so that whoever still looks at it, or still sends
 * it, is found out by its bytes; and nothing may be released twice.
 */
export function poisonReleased(on: boolean): void {
  poisons = on
  released = new WeakSet()
}

/** Sizes of slabs, for connections that are quiet, for small requests, and for streams. */
const slabSizes = [16 * KiB, 64 * KiB, 512 * KiB] as const
export const [slabBytesQuiet, slabBytesSmall, slabBytesLarge] = slabSizes
type SlabSize = (typeof slabSizes)[number]
const spareBytesMax = 16 * MiB
/** So many reads in a row that a smaller slab would do for, and it will. */
const smallReadsMax = 64
const spareSlabs = new Map<number, Slab[]>(slabSizes.map(bytes => [bytes, []]))

/** A slab that nobody else uses, pinned once. */
export function takeSlab(sizeBytes: SlabSize): Slab {
  let slab = spareSlabs.get(sizeBytes)!.pop()
  if (slab === undefined) {
    slab = { bytes: Buffer.allocUnsafeSlow(sizeBytes), pins: 0 }
    slabOf.set(slab.bytes.buffer, slab)
  }
  slab.pins = 1
  return slab
}

export function unpin(slab: Slab): void {
  slab.pins--
  assert(slab.pins >= 0, 'a slab is unpinned as often as it was pinned')
  if (slab.pins > 0) return
  if (poisons) slab.bytes.fill(poison)
  const spare = spareSlabs.get(slab.bytes.length)!
  if ((spare.length + 1) * slab.bytes.length <= spareBytesMax / 2) spare.push(slab)
}

/** `bytes` from `from` to `to`, to be kept until it is released. */
export function cutPinned(bytes: Buffer, from: number, to: number): Buffer {
  const slab = slabOf.get(bytes.buffer)
  if (slab !== undefined) slab.pins++
  return from === 0 && to === bytes.length ? bytes : bytes.subarray(from, to)
}

/** Nobody looks at these cuts any more, and no stream still has to send them. Each cut is released once, or never. */
export function releasePieces(pieces: readonly Buffer[]): void {
  for (const piece of pieces) releasePiece(piece)
}

export function releasePiece(piece: Buffer): void {
  const slab = slabOf.get(piece.buffer)
  if (slab === undefined && !isOurs.has(piece.buffer)) return
  if (poisons) poisonPiece(piece)
  if (slab !== undefined) unpin(slab)
  else if (piece.length > cutBytesMax) keepLarge(piece)
}

/** Like `releasePiece`, for a cut from which others have been cut that are still in use. */
export function releaseUncut(piece: Buffer): void {
  const slab = slabOf.get(piece.buffer)
  if (slab !== undefined) unpin(slab)
}

function poisonPiece(piece: Buffer): void {
  assert(!released.has(piece), 'a payload is released once')
  released.add(piece)
  piece.fill(poison)
}

// ---- payloads that are made here

const cutBytesMax = 32 * KiB
const pageBytes = 4 * KiB
let placeInPage: (buffer: Buffer) => number = () => 0
/** Beside the payload there may be a protocol's header. */
const headerRoomBytes = 64
/** Buffers in use by nobody, by their length. */
const spareBuffers = new Map<number, Buffer[]>()
/** The arrays of buffers that came from here; others are not ours to keep. */
const isOurs = new WeakSet<ArrayBufferLike>()
let spareBufferBytes = 0
let payloadSlab: Slab | null = null
let payloadAt = 0

/**
 * Large payloads begin at the start of a page from now on, so that a disk can be read into them directly. `placeOf` tells how
 * far from there a buffer begins.
 */
export function alignPayloads(placeOf: (buffer: Buffer) => number): void {
  placeInPage = placeOf
}

/**
 * Memory for a payload of up to `lengthBytes`, to be given back with `releasePiece` once nobody needs it: small ones are cut
 * from a slab, large ones have a buffer of their own. Its bytes are whatever was there before.
 */
export function takePayload(lengthBytes: number): Buffer {
  if (lengthBytes > cutBytesMax) return takeLarge(lengthBytes)
  if (payloadSlab === null || payloadAt + lengthBytes > slabBytesSmall) {
    if (payloadSlab !== null) unpin(payloadSlab)
    payloadSlab = takeSlab(slabBytesSmall)
    payloadAt = 0
  } else if (payloadSlab.pins === 1) payloadAt = 0
  const from = payloadAt
  payloadAt += lengthBytes
  return cutPinned(payloadSlab.bytes, from, payloadAt)
}

function takeLarge(lengthBytes: number): Buffer {
  const roundBytes = 2 ** Math.ceil(Math.log2(lengthBytes - headerRoomBytes)) + headerRoomBytes
  const kept = spareBuffers.get(roundBytes)?.pop()
  if (kept !== undefined) {
    spareBufferBytes -= kept.buffer.byteLength
    return kept.subarray(0, lengthBytes)
  }
  const made = Buffer.allocUnsafeSlow(roundBytes + pageBytes)
  isOurs.add(made.buffer)
  return fromPageOn(made).subarray(0, lengthBytes)
}

function keepLarge(piece: Buffer): void {
  const { buffer } = piece
  if (spareBufferBytes + buffer.byteLength > spareBytesMax) return
  spareBufferBytes += buffer.byteLength
  const whole = fromPageOn(Buffer.from(buffer))
  const kept = spareBuffers.get(whole.length)
  if (kept === undefined) spareBuffers.set(whole.length, [whole])
  else kept.push(whole)
}

/** All of a large buffer but a page's worth, from the start of a page on. */
function fromPageOn(made: Buffer): Buffer {
  const at = (pageBytes - placeInPage(made)) % pageBytes
  return made.subarray(at, at + made.length - pageBytes)
}

/** The smallest slab of which a read of so many bytes takes less than half. */
function slabBytesFor(lengthBytes: number): SlabSize {
  if (lengthBytes < slabBytesQuiet / 2) return slabBytesQuiet
  return lengthBytes < slabBytesSmall / 2 ? slabBytesSmall : slabBytesLarge
}

/** Where one socket reads to: one slab after the other, filled from front to back. */
export class ReceiveMemory {
  #slab = takeSlab(slabBytesQuiet)
  #at = 0
  #wantBytes: SlabSize = slabBytesQuiet
  #smallReads = 0
  #hasRead = false

  /** Where the next read goes: from `place()` of this to its end. */
  get memory(): Buffer {
    return this.#slab.bytes
  }

  /** Where in `memory`, another one perhaps, the next read goes. */
  place(): number {
    const { bytes } = this.#slab
    if (bytes.length - this.#at < bytes.length / 4 || this.#wantBytes !== bytes.length) this.#renew()
    return this.#at
  }

  /** What a read of `length` bytes to there brought. Valid until the next read, unless cuts of it are pinned. */
  took(length: number): Buffer {
    const from = this.#at
    this.#at += length
    this.#hasRead = true
    this.#noteRead(slabBytesFor(length))
    return this.#slab.bytes.subarray(from, this.#at)
  }

  /** What was read was consumed, or what is kept of it is pinned: unpinned memory is read into again. */
  consumed(): void {
    if (this.#slab.pins > 1) return
    if (poisons) this.#slab.bytes.fill(poison, 0, this.#at)
    this.#at = 0
  }

  /** To be called now and then: a connection that is quiet in between gives its memory back, but for the smallest. */
  rest(): void {
    if (this.#hasRead) this.#hasRead = false
    else this.#wantBytes = slabBytesQuiet
  }

  close(): void {
    unpin(this.#slab)
  }

  #noteRead(wouldDo: SlabSize): void {
    if (wouldDo < this.#wantBytes && ++this.#smallReads < smallReadsMax) return
    this.#wantBytes = wouldDo
    this.#smallReads = 0
  }

  #renew(): void {
    unpin(this.#slab)
    this.#slab = takeSlab(this.#wantBytes)
    this.#at = 0
  }
}
