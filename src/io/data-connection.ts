import net from 'node:net'
import { StorageError } from '../base/errors.js'
import type { Endpoint } from '../model/objects.js'
import type { CloseReason, Connection, ConnectionHandlers } from '../ports/link.js'
import { type DataFrame, dataHeaderBytes, decodeHeader } from '../wire/data.js'
import { type ByteStream, type ByteStreamOwner, takeSocket } from './byte-stream.js'
import { systemClock } from './clock.js'
import { DataCodec } from './data-codec.js'
import { knockLocally, localRemote } from './local-door.js'
import { connectTimeoutMs, lingerMs, remoteOf, socketOptions } from './tcp-options.js'

/** Whole frames, one behind the other. */
export function* framesOf(bytes: Buffer): Generator<DataFrame> {
  for (let at = 0; at < bytes.length; ) {
    const frame = decodeHeader(bytes, at)
    at += dataHeaderBytes
    // The addon's frames have the payload of a request alone.
    if (frame.bodyBytes > 0) frame.body = [bytes.subarray(at, at + frame.bodyBytes)]
    at += frame.bodyBytes
    yield frame
  }
}

/** A data connection. What is sent in one turn leaves in one vectored write; what comes is parsed where it was read to. */
export class DataConnection implements Connection<DataFrame>, ByteStreamOwner {
  readonly #codec = new DataCodec()
  #handlers: ConnectionHandlers<DataFrame> | null = null
  /** While a connection by TCP is being made. */
  #socket: net.Socket | null = null
  #stream: ByteStream | null = null
  #isPaused = false
  #isClosed = false
  #isFlushing = false
  #unwrittenBytes = 0
  readonly #flush = () => this.#write()
  readonly #deliver = (frame: DataFrame) => {
    if (!this.#isClosed) this.#handlers!.onMessage(frame)
  }

  private constructor(readonly remote: Endpoint) {}

  /** Returns at once. */
  static connect(to: Endpoint, handlers: ConnectionHandlers<DataFrame>): DataConnection {
    const connection = new DataConnection(to)
    connection.#handlers = handlers
    connection.#stream = knockLocally(to, connection)
    if (connection.#stream === null) connection.#dial(to)
    else connection.#stream.carriesFrames()
    return connection
  }

  /** `socket` was accepted and has not been read. */
  static accept(
    socket: net.Socket,
    isLocal: boolean,
    handlersFor: (connection: Connection<DataFrame>) => ConnectionHandlers<DataFrame>,
  ): void {
    const connection = new DataConnection(isLocal ? localRemote : remoteOf(socket))
    connection.#stream = takeSocket(socket, 0, connection)
    // What could not be taken is the other side's to try again.
    if (connection.#stream === null) return
    if (isLocal) connection.#stream.share(false)
    connection.#stream.carriesFrames()
    connection.#handlers = handlersFor(connection)
  }

  /** The addon's number for it; -1: it has none yet, or no more. */
  get streamId(): number {
    return this.#isClosed || this.#stream === null ? -1 : this.#stream.id
  }

  get queuedBytes(): number {
    return this.#unwrittenBytes + (this.#stream?.unsentBytes ?? 0)
  }

  send(frame: DataFrame, ownsPayload = false): void {
    if (this.#isClosed) return
    this.#unwrittenBytes += this.#codec.put(frame, ownsPayload)
    if (this.#isFlushing || this.#stream === null) return
    this.#isFlushing = true
    systemClock.endOfTurn(this.#flush)
  }

  pause(): void {
    this.#isPaused = true
    this.#stream?.pause()
  }
  resume(): void {
    this.#isPaused = false
    this.#stream?.resume()
  }

  close(dropUnsent = false): void {
    if (this.#isClosed) return
    if (!dropUnsent && this.#stream !== null && this.#unwrittenBytes > 0) this.#write()
    this.#isClosed = true
    this.#socket?.destroy()
    const stream = this.#stream
    if (stream === null) return
    if (dropUnsent) {
      stream.destroy()
      return
    }
    // What was sent before still goes out, then the end. What comes is read and thrown away: an end that overtakes it on the
    // other side would take the last frames with it.
    stream.end()
    stream.resume()
    setTimeout(() => stream.destroy(), lingerMs).unref()
  }

  // ---- what the stream tells

  onBytes(bytes: Buffer): void {
    if (this.#isClosed) return
    try {
      this.#codec.parse(bytes, this.#deliver)
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'PROTOCOL') throw error
      this.#ended(error.message)
    }
  }

  onEnd(): void {
    if (this.#isClosed) this.#stream!.destroy()
    else this.#ended('closed by the other side')
  }

  onBroken(reason: string): void {
    this.#stream!.destroy()
    this.#ended(reason)
  }

  onProgress(): void {}

  onReturned(frames: Buffer): void {
    for (const frame of framesOf(frames)) this.#deliver(frame)
  }

  // ----

  #dial(to: Endpoint): void {
    const socket = net.connect({ host: to.host, port: to.port, ...socketOptions })
    this.#socket = socket
    socket.pause()
    socket.setTimeout(connectTimeoutMs, () => this.#ended(`no connection within ${connectTimeoutMs} ms`))
    socket.once('connect', () => this.#isUp(socket))
    socket.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#socket === socket) this.#ended(error.message, error.code === 'ECONNREFUSED' ? 'refused' : 'other')
    })
  }

  #isUp(socket: net.Socket): void {
    if (this.#isClosed) return
    this.#socket = null
    this.#stream = takeSocket(socket, 0, this)
    if (this.#stream === null) {
      this.#ended('no descriptor is left for the connection')
      return
    }
    this.#stream.carriesFrames()
    if (this.#isPaused) this.#stream.pause()
    if (this.#unwrittenBytes > 0) this.#write()
  }

  #write(): void {
    this.#isFlushing = false
    // A close may have written it.
    if (this.#isClosed || this.#unwrittenBytes === 0) return
    this.#unwrittenBytes = 0
    if (this.#stream!.send(this.#codec.take(), this.#codec.written)) this.#codec.written()
  }

  #ended(reason: string, why: CloseReason = 'other'): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket?.destroy()
    this.#stream?.destroy()
    this.#handlers!.onClose(reason, why)
  }
}
