import type net from 'node:net'
import { StorageError } from '../base/errors.js'
import type { Endpoint } from '../model/objects.js'
import type { CloseReason, Connection, ConnectionHandlers } from '../ports/link.js'
import { systemClock } from './clock.js'
import { readIntoSlabs } from './slab-reader.js'
import type { Codec } from './tcp-codec.js'

/** After a close, how long the other side may take to read what was sent before. */
const lingerMs = 2_000

/** A connection over a socket of Node's. What is sent in one turn leaves in one vectored write. */
export class TcpConnection<Message> implements Connection<Message> {
  #handlers: ConnectionHandlers<Message> | null = null
  #closed = false
  #flushing = false
  #unwrittenBytes = 0
  #reason = 'closed by the other side'
  #why: CloseReason = 'other'
  readonly #flush = () => this.#write()
  readonly #deliver = (message: Message) => {
    if (!this.#closed) this.#handlers!.onMessage(message)
  }

  constructor(
    readonly socket: net.Socket,
    readonly remote: Endpoint,
    readonly codec: Codec<Message>,
  ) {}

  start(handlers: ConnectionHandlers<Message>): void {
    this.#handlers = handlers
    if (this.codec.pinsPayload) readIntoSlabs(this.socket, bytes => this.#take(bytes))
    else this.socket.on('data', (bytes: Buffer) => this.#take(bytes))
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason = error.message
      if (error.code === 'ECONNREFUSED') this.#why = 'refused'
    })
    this.socket.on('close', () => this.#ended(this.#reason))
  }

  get queuedBytes(): number {
    return this.#unwrittenBytes + this.socket.writableLength
  }

  send(message: Message, ownsPayload = false): void {
    if (this.#closed) return
    this.#unwrittenBytes += this.codec.put(message, ownsPayload)
    if (this.#flushing) return
    this.#flushing = true
    systemClock.endOfTurn(this.#flush)
  }

  pause(): void {
    this.socket.pause()
  }
  resume(): void {
    this.socket.resume()
  }

  close(dropUnsent = false): void {
    if (this.#closed) return
    const { socket } = this
    if (dropUnsent) {
      this.#closed = true
      socket.destroy()
      return
    }
    if (this.#unwrittenBytes > 0) this.#write()
    this.#closed = true
    // What was sent before still goes out, then the end.
    if (socket.connecting) socket.destroy()
    else socket.destroySoon()
    // Nobody reads any more: what comes is thrown away, so that the end is not held up behind it.
    socket.removeAllListeners('data')
    socket.resume()
    setTimeout(() => socket.destroy(), lingerMs).unref()
  }

  /** Ends for a reason that the owner is told. */
  fail(reason: string): void {
    if (this.#closed) return
    this.socket.destroy()
    this.#ended(reason)
  }

  #take(bytes: Buffer): void {
    if (this.#closed) return
    try {
      this.codec.parse(bytes, this.#deliver)
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'PROTOCOL') throw error
      this.fail(error.message)
    }
  }

  #write(): void {
    this.#flushing = false
    this.#unwrittenBytes = 0
    if (this.#closed) return
    const pieces = this.codec.take()
    const { socket } = this
    const last = pieces.length - 1
    if (last > 0) socket.cork()
    for (let i = 0; i < last; i++) socket.write(pieces[i]!)
    socket.write(pieces[last]!, this.codec.written)
    if (last > 0) socket.uncork()
  }

  #ended(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#handlers!.onClose(reason, this.#why)
  }
}
