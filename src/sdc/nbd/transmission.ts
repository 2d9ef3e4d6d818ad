import { assert } from '../../base/assert.js'
import {
  nbdBytesInFlightMax,
  nbdPayloadBytesMax,
  nbdRequestsInFlightMax,
  writeBelowBytesMax,
} from '../../base/limits.js'
import { cutPinned, releasePieces, releaseUncut, takePayload } from '../../wire/payload-memory.js'
import type { BlockBackend, Extent, NbdErrno } from './backend.js'
import { BodyPieces } from './body.js'
import { type Features, type Refusal, refusalOf } from './check-request.js'
import { extentsPerReplyMax } from './limits.js'
import { commandFlags, commands, requestBytes, requestMagic } from './protocol.js'
import { queueError, queueExtents, queueRead, queueSimple, readHeaderBytes } from './replies.js'
import { ReplyQueue } from './reply-queue.js'
import { NbdRequest, noBody, type RequestOwner } from './request.js'
import type { NbdStream } from './stream.js'

/** What the transmission phase asks of the connection around it. */
export interface TransmissionHost {
  /** The client is ahead of what it may have in flight: stop reading, go on reading. */
  pause(): void
  resume(): void
  /** Calls `flush` once what is due in this turn has been done. */
  endOfTurn(flush: () => void): void
  /** Everything taken is answered and sent, and nothing more will be taken. */
  drained(): void
  /** The stream is gone, and the backend has let go of the last request. */
  released(): void
  /** The client broke the protocol; nothing that it sends makes sense any more. */
  malformed(what: string): void
}

/**
 * The transmission phase of one connection: takes requests from the bytes that were read, hands them to the backend,
 * and queues the answers. Invariants:
 *  1. a request counts as in flight, with its payload, from its header until the stream has sent its reply, so that a
 *     client that sends without reading is bounded as one that only sends;
 *  2. no more than nbdRequestsInFlightMax requests and nbdBytesInFlightMax bytes are in flight; what was read beyond
 *     that stays unread in `#unread` while the stream is paused;
 *  3. the backend sees whole sectors inside the export, and every payload complete.
 */
export class Transmission implements RequestOwner {
  readonly #host: TransmissionHost
  readonly #stream: NbdStream
  readonly #backend: BlockBackend
  readonly #features: Features
  readonly #replies: ReplyQueue
  readonly #readHeaderBytes: number

  readonly #header = Buffer.alloc(requestBytes)
  #headerHave = 0
  /** The write whose payload is coming in, and how much of it is missing. */
  #writing: NbdRequest | null = null
  #missingBytes = 0
  readonly #body = new BodyPieces()
  #unread: Buffer[] = []

  readonly #free: NbdRequest[] = []
  #requestsInFlight = 0
  #bytesInFlight = 0
  /** Requests that the backend has. */
  #underWay = 0
  #stalled = false
  #flushScheduled = false
  /** Requests are being taken: their answers leave together at the end. */
  #taking = false
  /** The client has sent its last byte. */
  #inputEnded = false
  /** No more requests are taken. */
  #ended = false
  /** The stream is gone: answers are dropped. */
  #gone = false
  /** `drained` and then `released` have been called. */
  #drained = false
  #released = false

  constructor(host: TransmissionHost, stream: NbdStream, backend: BlockBackend, features: Features) {
    this.#host = host
    this.#stream = stream
    this.#backend = backend
    this.#features = features
    this.#readHeaderBytes = readHeaderBytes(features.structured)
    this.#replies = new ReplyQueue(stream, this.#onSent)
  }

  /** Once the stream is gone, only what the backend still has. */
  get requestsInFlight(): number {
    return this.#gone ? this.#underWay : this.#requestsInFlight
  }

  /** Takes what a read returned; what is kept of it is pinned. */
  take(bytes: Buffer): void {
    if (this.#ended) return
    if (this.#stalled) this.#unread.push(cutPinned(bytes, 0, bytes.length))
    else this.#goOn(bytes)
  }

  /** Requests that were to be answered below and are not: they have been taken, whatever else is in flight. */
  takeBack(requests: Buffer): void {
    if (this.#gone) return
    for (let at = 0; at < requests.length; ) {
      const request = this.#take(requests, at)
      at += requestBytes
      const refusal = this.#refusalOf(request)
      if (request.command !== commands.write) this.#start(request, refusal)
      else {
        const body = requests.subarray(at, at + request.lengthBytes)
        at += request.lengthBytes
        if (refusal !== null) this.#answer(request, refusal.errno, refusal)
        else this.#write(request, [body])
      }
    }
    if (this.#isBeyond && !this.#stalled && !this.#ended) this.#stall()
    this.#flushSoon()
  }

  /** The client sends no more: what it has sent is carried out, then this ends. */
  endInput(): void {
    this.#inputEnded = true
    if (!this.#stalled) this.end()
  }

  /** Takes no more requests, and drops a write that has not come in completely; what is in flight is answered. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    this.#unread = []
    this.takeBack(this.#stream.takeBack?.() ?? nothing)
    if (this.#writing !== null) this.#drop(this.#writing)
    this.#checkEnd()
  }

  /** The stream has closed: nothing can be answered any more. `released` follows when the backend has let go. */
  abandon(): void {
    this.#gone = true
    this.end()
    this.#checkEnd()
  }

  // ---- taking requests

  /** `fresh`: what has just been read, where nothing is left unread of before. */
  #goOn(fresh: Buffer | null): void {
    this.#stalled = false
    this.#taking = true
    if (fresh !== null) {
      const at = this.#parse(fresh)
      if (at < fresh.length && !this.#ended) this.#unread.push(cutPinned(fresh, at, fresh.length))
    }
    while (!this.#ended && !this.#stalled && (this.#unread.length > 0 || this.#headerHave === requestBytes)) {
      const bytes = this.#unread[0] ?? nothing
      const at = this.#parse(bytes)
      if (at === bytes.length) releaseUncut(this.#unread.shift() ?? nothing)
      else if (!this.#ended) this.#unread[0] = bytes.subarray(at)
    }
    this.#taking = false
    if (this.#inputEnded && !this.#stalled) this.end()
    this.#flush()
  }

  /** Takes requests until the bytes are used up or the client has to wait; returns how far it came. */
  #parse(bytes: Buffer): number {
    let at = 0
    while (!this.#ended) {
      if (this.#missingBytes > 0) {
        if (at === bytes.length) break
        at = this.#takeBody(bytes, at)
      } else if (this.#headerHave === 0 && bytes.length - at >= requestBytes) {
        if (!this.#hasRoom(bytes, at)) break
        this.#begin(bytes, at)
        at += requestBytes
      } else {
        // A header that straddles two reads.
        const copied = bytes.copy(this.#header, this.#headerHave, at)
        this.#headerHave += copied
        at += copied
        if (this.#headerHave < requestBytes || !this.#hasRoom(this.#header, 0)) break
        this.#headerHave = 0
        this.#begin(this.#header, 0)
      }
    }
    return at
  }

  #hasRoom(header: Buffer, at: number): boolean {
    const heldBytes = heldBytesOf(header, at)
    const room =
      this.#requestsInFlight < nbdRequestsInFlightMax &&
      (this.#bytesInFlight === 0 || this.#bytesInFlight + heldBytes <= nbdBytesInFlightMax)
    if (!room) this.#stall()
    return room
  }

  /** More is in flight than may be: requests that came back. */
  get #isBeyond(): boolean {
    return this.#requestsInFlight > nbdRequestsInFlightMax || this.#bytesInFlight > nbdBytesInFlightMax
  }

  #stall(): void {
    this.#stalled = true
    this.#host.pause()
  }

  #begin(header: Buffer, at: number): void {
    if (header.readUInt32BE(at) !== requestMagic) {
      this.#ended = true
      this.#unread = []
      this.#host.malformed('the magic of a request')
      return
    }
    const command = header.readUInt16BE(at + 6)
    if (command === commands.disconnect) {
      this.end()
      return
    }
    const request = this.#take(header, at)
    const refusal = this.#refusalOf(request)
    if (command === commands.write && request.lengthBytes > 0) {
      request.refusal = refusal
      this.#writing = request
      this.#missingBytes = request.lengthBytes
    } else this.#start(request, refusal)
  }

  #take(header: Buffer, at: number): NbdRequest {
    const request = this.#free.pop() ?? new NbdRequest(this)
    request.command = header.readUInt16BE(at + 6)
    request.flags = header.readUInt16BE(at + 4)
    request.cookieHigh = header.readUInt32BE(at + 8)
    request.cookieLow = header.readUInt32BE(at + 12)
    request.offsetBytes = header.readUInt32BE(at + 16) * 2 ** 32 + header.readUInt32BE(at + 20)
    request.lengthBytes = header.readUInt32BE(at + 24)
    request.heldBytes = heldBytesOf(header, at)
    this.#requestsInFlight++
    this.#bytesInFlight += request.heldBytes
    return request
  }

  #refusalOf({ command, flags, offsetBytes, lengthBytes }: NbdRequest): Refusal | null {
    return refusalOf(command, flags, offsetBytes, lengthBytes, this.#backend, this.#features)
  }

  #start(request: NbdRequest, refusal: Refusal | null): void {
    if (refusal !== null) this.#answer(request, refusal.errno, refusal)
    else this.#issue(request)
  }

  #takeBody(bytes: Buffer, at: number): number {
    const request = this.#writing as NbdRequest
    const taken = Math.min(this.#missingBytes, bytes.length - at)
    const end = at + taken
    if (request.refusal === null) this.#body.add(bytes, at, end, this.#missingBytes)
    this.#missingBytes -= taken
    if (this.#missingBytes > 0) return end
    this.#writing = null
    const refusal = request.refusal
    request.refusal = null
    if (refusal !== null) this.#answer(request, refusal.errno, refusal)
    else this.#write(request, this.#body.take())
    return end
  }

  #write(request: NbdRequest, body: Buffer[]): void {
    this.#underWay++
    request.underWay = true
    request.body = body
    this.#backend.write(request.offsetBytes, body, isFua(request), request.done)
  }

  #issue(request: NbdRequest): void {
    const { offsetBytes, lengthBytes } = request
    this.#underWay++
    request.underWay = true
    switch (request.command) {
      case commands.read:
        request.reply = takePayload(this.#readHeaderBytes + lengthBytes)
        this.#backend.read(offsetBytes, request.reply.subarray(this.#readHeaderBytes), request.done)
        return
      case commands.flush:
        this.#backend.flush(request.done)
        return
      case commands.trim:
        this.#backend.trim(offsetBytes, lengthBytes, isFua(request), request.done)
        return
      case commands.writeZeroes: {
        const mayPunch = (request.flags & commandFlags.noHole) === 0
        this.#backend.zero(offsetBytes, lengthBytes, mayPunch, isFua(request), request.done)
        return
      }
      case commands.blockStatus:
        this.#backend.extents(offsetBytes, lengthBytes, request.extentsDone)
        return
      default:
        // CACHE is a hint; there is no cache to fill.
        assert(request.command === commands.cache, 'every command that passes the checks is carried out')
        this.completed(request, null)
    }
  }

  // ---- answering

  /** The backend is done with a request. */
  completed(request: NbdRequest, errno: NbdErrno | null): void {
    this.#settle(request)
    this.#answer(request, errno, null)
    this.#flushSoon()
  }

  completedExtents(request: NbdRequest, errno: NbdErrno | null, extents: Extent[]): void {
    this.#settle(request)
    if (errno === null && !this.#gone) {
      const extentsMax = (request.flags & commandFlags.reqOne) !== 0 ? 1 : extentsPerReplyMax
      queueExtents(this.#replies, request, extents, extentsMax)
      this.#queued(request)
    } else this.#answer(request, errno, null)
    this.#flushSoon()
  }

  #settle(request: NbdRequest): void {
    assert(request.underWay, 'the backend completes a request once')
    request.underWay = false
    this.#underWay--
    releasePieces(request.body)
    request.body = noBody
  }

  #answer(request: NbdRequest, errno: NbdErrno | null, refusal: Refusal | null): void {
    if (this.#gone) {
      this.#drop(request)
      return
    }
    if (errno === null && this.#stream.setRoute !== undefined && isRoutable(request)) {
      const route = this.#backend.route?.(request.offsetBytes)
      if (route != null) this.#stream.setRoute(route)
    }
    const { structured } = this.#features
    if (errno !== null && structured) queueError(this.#replies, request, errno, refusal?.say ?? sayings[errno])
    else if (errno === null && request.reply !== null) queueRead(this.#replies, request, structured)
    else queueSimple(this.#replies, request, errno)
    this.#queued(request)
  }

  #queued(request: NbdRequest): void {
    this.#replies.complete(request.heldBytes)
    this.#recycle(request)
  }

  /** Lets go of a request that nobody will hear about. */
  #drop(request: NbdRequest): void {
    if (request === this.#writing) {
      this.#writing = null
      this.#missingBytes = 0
      releasePieces(this.#body.take())
    }
    this.#requestsInFlight--
    this.#bytesInFlight -= request.heldBytes
    this.#recycle(request)
    this.#checkEnd()
  }

  #recycle(request: NbdRequest): void {
    request.reply = null
    request.refusal = null
    this.#free.push(request)
  }

  // ---- sending

  #flushSoon(): void {
    if (this.#taking || this.#flushScheduled || this.#gone) return
    this.#flushScheduled = true
    this.#host.endOfTurn(this.#flush)
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false
    if (!this.#gone) this.#replies.flush()
  }

  readonly #onSent = (requests: number, heldBytes: number): void => {
    if (this.#gone) return
    this.#requestsInFlight -= requests
    this.#bytesInFlight -= heldBytes
    assert(this.#requestsInFlight >= 0 && this.#bytesInFlight >= 0, 'what is sent was in flight')
    if (this.#stalled && !this.#ended && !this.#isBeyond) {
      this.#goOn(null)
      if (!this.#stalled) this.#host.resume()
    }
    this.#checkEnd()
  }

  /** Something has left: perhaps the last of what was answered below. */
  sent(): void {
    this.#checkEnd()
  }

  /** What is answered here is in flight until it has left; this is not. */
  get #isAnsweringBelow(): boolean {
    return this.#stream.takeBack !== undefined && this.#stream.writableLength > 0
  }

  #checkEnd(): void {
    if (!this.#ended) return
    if (this.#gone) {
      if (this.#underWay > 0 || this.#released) return
      this.#released = true
      this.#host.released()
    } else if (this.#requestsInFlight === 0 && !this.#drained && !this.#isAnsweringBelow) {
      this.#drained = true
      this.#host.drained()
    }
  }
}

const nothing = Buffer.alloc(0)

const isFua = (request: NbdRequest): boolean => (request.flags & commandFlags.fua) !== 0

/** More like it may be answered below (native/src/relay.cc). */
const isRoutable = ({ command, lengthBytes }: NbdRequest): boolean =>
  command === commands.read || (command === commands.write && lengthBytes <= writeBelowBytesMax)

/** The payload that a request may have in memory; what is longer than allowed is refused and skipped. */
function heldBytesOf(header: Buffer, at: number): number {
  const command = header.readUInt16BE(at + 6)
  if (command !== commands.read && command !== commands.write) return 0
  const lengthBytes = header.readUInt32BE(at + 24)
  return lengthBytes > nbdPayloadBytesMax ? 0 : lengthBytes
}

const sayings = {
  EPERM: 'not permitted',
  EIO: 'the storage answered with an error',
  ENOMEM: 'out of memory',
  EINVAL: 'not acceptable',
  ENOSPC: 'no room for another chunk',
  EOVERFLOW: 'too large',
  ENOTSUP: 'not supported',
  ESHUTDOWN: 'shutting down',
} as const satisfies Record<NbdErrno, string>
