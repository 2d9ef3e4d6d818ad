import type net from 'node:net'
import { assert } from '../base/assert.js'
import { StorageError } from '../base/errors.js'
import { ReceiveMemory } from '../wire/payload-memory.js'
import { addon, errnoName, isAddonError } from './addon.js'
import { onEvents, rethrow } from './turn.js'

/** What a stream tells whoever owns it. Nothing comes after `destroy`. */
export interface ByteStreamOwner {
  /** Valid during the call, and longer where it is cut with `cutPinned`. */
  onBytes(bytes: Buffer): void
  /** The other side sends no more. */
  onEnd(): void
  /** The stream is broken; it is to be destroyed. `reason` is the system's: `read ECONNRESET`. */
  onBroken(reason: string): void
  /** Something of what had to wait has been sent. */
  onProgress(): void
  /** Requests that the addon took and does not answer, each header with its payload. */
  onReturned?(requests: Buffer): void
}

/** Of all streams of this process; as many connections as its listeners take together. */
const streamsMax = 16_384
const eventsPerCallMax = 1_024
const restEveryMs = 10_000
/** Events: something that had to wait has been sent, and requests have come back. */
const progress = 2 ** 31 - 1
const returned = 2 ** 31 - 2

// Per stream: where in its memory the next read goes, bytes that are not sent yet, sends that are not sent whole yet.
const statesPerStream = 3
const states = new Float64Array(streamsMax * statesPerStream)
const events = new Int32Array(2 * eventsPerCallMax)
const streams: (ByteStream | null)[] = []
let isStarted = false
const nothing = Buffer.alloc(0)

/**
 * A connected stream socket that the addon reads and writes: no object, promise or turn of a stream for each read and
 * write. What all sockets bring in one turn of the event loop comes in one call, before the turn ends.
 */
export class ByteStream {
  /** The addon's number for it. */
  readonly id: number
  readonly #stateAt: number
  readonly #memory = new ReceiveMemory()
  /** What the addon reads to; kept here, as the addon holds its address alone. */
  #target: Buffer
  /** Sends that are not sent whole yet: their pieces, and who waits. */
  readonly #unsent: Unsent[] = []
  #isDestroyed = false

  /** Takes over `fd`. `sendBufferBytes` 0: as the system likes. Throws LIMIT_REACHED, having closed it. */
  constructor(
    fd: number,
    sendBufferBytes: number,
    readonly owner: ByteStreamOwner,
  ) {
    if (!isStarted) {
      addon.streamsStart(states, events)
      onEvents(takeEvents)
      setInterval(restAll, restEveryMs).unref()
      isStarted = true
    }
    this.id = addon.streamAdopt(fd, sendBufferBytes)
    if (this.id < 0) throw new StorageError('LIMIT_REACHED', { what: 'connections of a process', max: streamsMax })
    this.#stateAt = this.id * statesPerStream
    streams[this.id] = this
    this.#target = this.#memory.memory
    addon.streamMemory(this.id, this.#target)
  }

  get isDestroyed(): boolean {
    return this.#isDestroyed
  }

  /** Given to `send` and not taken by the operating system yet. */
  get unsentBytes(): number {
    return this.#isDestroyed ? 0 : states[this.#stateAt + 1]!
  }

  /**
   * Sends now what the socket takes, and the rest when it can. True: everything is gone, and its memory may change. False:
   * that is so when `sent` is called; if the stream breaks or is destroyed, never.
   */
  send(pieces: readonly Uint8Array[], sent: () => void): boolean {
    if (this.#isDestroyed) return false
    addon.streamSend(this.id, pieces)
    if (states[this.#stateAt + 2] === 0) return true
    this.#unsent.push({ pieces, sent })
    return false
  }

  /**
   * Before anything else, of a unix socket, on both sides: the bytes go through memory that both share, which who connects
   * makes.
   */
  share(isMaker: boolean): void {
    addon.streamShare(this.id, isMaker)
  }

  /** From the next byte on. */
  carriesFrames(): void {
    addon.streamCarries(this.id, 1, false)
  }
  /** The same, of an NBD client. */
  carriesRequests(isStructured: boolean): void {
    addon.streamCarries(this.id, 2, isStructured)
  }
  /** It carries nothing that the addon need know any more: what it has not answered, each header with its payload. */
  takeRequestsBack(): Buffer {
    if (this.#isDestroyed) return nothing
    addon.streamCarries(this.id, 0, false)
    return addon.streamReturned(this.id)
  }

  pause(): void {
    if (!this.#isDestroyed) addon.streamRead(this.id, false)
  }
  resume(): void {
    if (!this.#isDestroyed) addon.streamRead(this.id, true)
  }

  /** Our direction ends once everything is sent. */
  end(): void {
    if (!this.#isDestroyed) addon.streamEnd(this.id)
  }

  /** Drops what is unsent. */
  destroy(): void {
    if (this.#isDestroyed) return
    this.#isDestroyed = true
    addon.streamClose(this.id)
    streams[this.id] = null
    this.#unsent.length = 0
    this.#memory.close()
  }

  /** Called by the addon. */
  happened(what: number): void {
    if (what === progress) this.#progress()
    else if (what === returned) this.owner.onReturned?.(addon.streamReturned(this.id))
    else if (what > 0) this.#took(what)
    else if (what === 0) this.owner.onEnd()
    else this.owner.onBroken(errnoName(-what))
  }

  /** Called now and then. */
  rest(): void {
    this.#memory.rest()
    this.#aim()
  }

  #took(lengthBytes: number): void {
    this.owner.onBytes(this.#memory.took(lengthBytes))
    if (this.#isDestroyed) return
    this.#memory.consumed()
    this.#aim()
  }

  /** Tells the addon where the next read goes. */
  #aim(): void {
    states[this.#stateAt] = this.#memory.place()
    const { memory } = this.#memory
    if (memory === this.#target) return
    this.#target = memory
    addon.streamMemory(this.id, memory)
  }

  #progress(): void {
    const left = states[this.#stateAt + 2]!
    assert(left <= this.#unsent.length, 'the addon and we count the same sends')
    for (const { sent } of this.#unsent.splice(0, this.#unsent.length - left)) sent()
    if (!this.#isDestroyed) this.owner.onProgress()
  }
}

interface Unsent {
  pieces: readonly Uint8Array[]
  sent: () => void
}

function restAll(): void {
  for (const stream of streams) stream?.rest()
}

function takeEvents(count: number): void {
  for (let i = 0; i < count; i++) {
    try {
      // An earlier one of the same turn may have ended it.
      streams[events[2 * i]!]?.happened(events[2 * i + 1]!)
    } catch (error) {
      // The others must hear of theirs: it goes up by itself.
      process.nextTick(rethrow, error)
    }
  }
}

/**
 * A stream over a connected socket that Node must not have begun to read; for Node the connection is over. null: this
 * process has no descriptor or room for it, and it is closed.
 */
export function takeSocket(socket: net.Socket, sendBufferBytes: number, owner: ByteStreamOwner): ByteStream | null {
  const { _handle: handle } = socket as unknown as { _handle: { fd: number } | null }
  try {
    assert(handle !== null && handle.fd >= 0, 'a connected socket has a descriptor')
    return takeDescriptor(addon.fdDup(handle.fd), sendBufferBytes, owner)
  } catch (error) {
    if (!isAddonError(error)) throw error
    return null
  } finally {
    // Closes its own descriptor and nothing else: the connection is the other one's.
    socket.destroy()
  }
}

/** A stream over a connected socket; null: this process has no room for it, and it is closed. */
export function takeDescriptor(fd: number, sendBufferBytes: number, owner: ByteStreamOwner): ByteStream | null {
  try {
    return new ByteStream(fd, sendBufferBytes, owner)
  } catch (error) {
    if (!isAddonError(error) && !(error instanceof StorageError)) throw error
    return null
  }
}
