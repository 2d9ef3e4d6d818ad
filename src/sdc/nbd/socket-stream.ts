import type { Socket } from 'node:net'
import { MiB } from '../../base/units.js'
import { ByteStream, type ByteStreamOwner, takeSocket } from '../../io/byte-stream.js'
import { systemClock } from '../../io/clock.js'
import { setRoute } from '../../io/relay.js'
import type { Route } from '../../ports/index.js'
import type { NbdStream } from './stream.js'

/** A long read's reply goes to the system in one piece: a client then reads it without us having to come back. */
const sendBufferBytes = 2 * MiB

interface Listeners {
  data?: (bytes: Buffer) => void
  error?: (error: Error) => void
  end?: () => void
  close?: () => void
  drain?: () => void
  returned?: (requests: Buffer) => void
}

/** A socket that the addon reads and writes, half-open: either direction ends by itself. */
export class SocketStream implements NbdStream, ByteStreamOwner {
  #stream!: ByteStream
  readonly #on: Listeners = {}
  #pieces: Uint8Array[] = []
  #isCorked = false
  #isEnding = false
  #hasEnded = false

  private constructor() {}

  /** The descriptor now belongs to the stream. */
  static overDescriptor(fd: number): SocketStream {
    const made = new SocketStream()
    made.#stream = new ByteStream(fd, sendBufferBytes, made)
    return made
  }

  /** Over an accepted socket that has not been read. null: there is no room for it, and it is closed. */
  static over(socket: Socket): SocketStream | null {
    const made = new SocketStream()
    const stream = takeSocket(socket, sendBufferBytes, made)
    if (stream === null) return null
    made.#stream = stream
    return made
  }

  get destroyed(): boolean {
    return this.#stream.isDestroyed
  }
  get writableLength(): number {
    return this.#stream.unsentBytes
  }

  write(bytes: Uint8Array, done?: () => void): boolean {
    this.#pieces.push(bytes)
    if (done !== undefined) this.#done.push(done)
    if (!this.#isCorked) this.uncork()
    return this.writableLength === 0
  }
  cork(): void {
    this.#isCorked = true
  }
  uncork(): void {
    this.#isCorked = false
    const pieces = this.#pieces
    const done = this.#done
    this.#pieces = []
    this.#done = []
    if (pieces.length === 0) return
    const sent = () => {
      for (const call of done) call()
    }
    if (this.#stream.send(pieces, sent)) systemClock.endOfTurn(sent)
  }
  #done: (() => void)[] = []

  pause(): void {
    this.#stream.pause()
  }
  resume(): void {
    this.#stream.resume()
  }
  end(): void {
    this.#isEnding = true
    this.#stream.end()
    this.#closeIfOver()
  }
  destroy(): void {
    if (this.destroyed) return
    this.#stream.destroy()
    process.nextTick(() => this.#on.close?.())
  }

  relays(isStructured: boolean): void {
    if (!this.destroyed) this.#stream.carriesRequests(isStructured)
  }
  setRoute(route: Route): void {
    if (!this.destroyed) setRoute(this.#stream.id, route)
  }
  takeBack(): Buffer {
    return this.#stream.takeRequestsBack()
  }

  on(event: keyof Listeners, listener: never): void {
    this.#on[event] = listener
  }

  // ---- what the stream tells

  onBytes(bytes: Buffer): void {
    this.#on.data?.(bytes)
  }
  onEnd(): void {
    this.#hasEnded = true
    this.#on.end?.()
    this.#closeIfOver()
  }
  onBroken(reason: string): void {
    this.#on.error?.(new Error(reason))
    this.destroy()
  }
  onReturned(requests: Buffer): void {
    this.#on.returned?.(requests)
  }
  onProgress(): void {
    if (this.writableLength > 0) return
    this.#on.drain?.()
    this.#closeIfOver()
  }

  #closeIfOver(): void {
    if (this.#isEnding && this.#hasEnded && this.writableLength === 0) this.destroy()
  }
}
