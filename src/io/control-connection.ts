import type net from 'node:net'
import { StorageError } from '../base/errors.js'
import { controlBytesMax } from '../base/limits.js'
import { MiB } from '../base/units.js'
import type { Endpoint } from '../model/objects.js'
import type { CloseReason, Connection, ConnectionHandlers } from '../ports/link.js'
import type { ControlMessage } from '../wire/control.js'
import { ControlParser, encodeControl } from '../wire/control-parser.js'
import { systemClock } from './clock.js'
import { lingerMs } from './tcp-options.js'

/** What a stranger's first message may hold; `hello` is far smaller. */
const firstMessageBytesMax = 1 * MiB

/** A control connection over a socket of Node's. What is sent in one turn leaves in one vectored write. */
export class ControlConnection implements Connection<ControlMessage> {
  readonly #parser: ControlParser
  #handlers: ConnectionHandlers<ControlMessage> | null = null
  #closed = false
  #flushing = false
  #pieces: Uint8Array[] = []
  #unwrittenBytes = 0
  #reason = 'closed by the other side'
  #why: CloseReason = 'other'
  readonly #flush = () => this.#write()
  readonly #deliver = (message: ControlMessage) => {
    this.#parser.bytesMax = controlBytesMax
    if (!this.#closed) this.#handlers!.onMessage(message)
  }

  /** `isStranger`: the other side connected to us and has not said anything yet. */
  constructor(
    readonly socket: net.Socket,
    readonly remote: Endpoint,
    isStranger: boolean,
  ) {
    this.#parser = new ControlParser(isStranger ? firstMessageBytesMax : controlBytesMax)
  }

  start(handlers: ConnectionHandlers<ControlMessage>): void {
    this.#handlers = handlers
    this.socket.on('data', (bytes: Buffer) => this.#take(bytes))
    this.socket.on('error', (error: NodeJS.ErrnoException) => {
      this.#reason = error.message
      if (error.code === 'ECONNREFUSED') this.#why = 'refused'
    })
    this.socket.on('close', () => this.#ended(this.#reason))
  }

  get queuedBytes(): number {
    return this.#unwrittenBytes + this.socket.writableLength
  }

  send(message: ControlMessage): void {
    if (this.#closed) return
    const bytes = encodeControl(message)
    this.#pieces.push(bytes)
    this.#unwrittenBytes += bytes.length
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
      this.#parser.push(bytes, this.#deliver)
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'PROTOCOL') throw error
      this.fail(error.message)
    }
  }

  #write(): void {
    this.#flushing = false
    this.#unwrittenBytes = 0
    if (this.#closed || this.#pieces.length === 0) return
    const pieces = this.#pieces
    this.#pieces = []
    const { socket } = this
    socket.cork()
    for (const piece of pieces) socket.write(piece)
    socket.uncork()
  }

  #ended(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#handlers!.onClose(reason, this.#why)
  }
}
