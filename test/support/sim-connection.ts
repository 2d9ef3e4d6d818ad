import type { Endpoint } from '../../src/model/objects.js'
import type { Connection, ConnectionHandlers } from '../../src/ports/link.js'
import type { ControlMessage } from '../../src/wire/control.js'
import { ControlParser, encodeControl } from '../../src/wire/control-parser.js'
import { type DataFrame, dataHeaderBytes, encodeHeader } from '../../src/wire/data.js'
import { DataParser } from '../../src/wire/data-parser.js'
import type { SimNetwork } from './sim-link.js'

export interface Codec<Message> {
  encode(message: Message): Buffer
  parser(): { push(bytes: Buffer, onMessage: (message: Message) => void): void }
}

export const dataCodec: Codec<DataFrame> = {
  encode(frame) {
    const header = Buffer.alloc(dataHeaderBytes)
    encodeHeader(frame, header, 0)
    return Buffer.concat([header, ...frame.body])
  },
  parser: () => new DataParser(),
}

export const controlCodec: Codec<ControlMessage> = { encode: encodeControl, parser: () => new ControlParser() }

/** What a socket's buffers hold on both sides together. */
const socketBytes = 256 * 1024

/** One end of a simulated connection. */
export class SimEnd<Message> implements Connection<Message> {
  peer: SimEnd<Message> | null = null
  handlers: ConnectionHandlers<Message> | null = null
  readonly #parser
  #state: 'connecting' | 'up' | 'closed' = 'connecting'
  #paused = false
  /** Encoded in this turn, or before the connection was up. */
  #unsent: Buffer[] = []
  /** On their way to this end, or waiting for it to resume. */
  #arriving: { bytes: Buffer | null; reason: string; atMs: number }[] = []
  #flushing = false
  #waking = false
  #outBytes = 0

  constructor(
    readonly network: SimNetwork,
    public owner: string,
    readonly local: Endpoint,
    readonly remote: Endpoint,
    readonly codec: Codec<Message>,
  ) {
    this.#parser = codec.parser()
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }
  get queuedBytes(): number {
    return Math.max(0, this.#outBytes - socketBytes)
  }

  send(message: Message): void {
    if (this.#state === 'closed') return
    const bytes = this.codec.encode(message)
    this.#unsent.push(bytes)
    this.#outBytes += bytes.length
    if (this.#state === 'up') this.#flushLater()
  }

  pause(): void {
    this.#paused = true
  }
  resume(): void {
    this.#paused = false
    this.wake()
  }

  close(): void {
    // What was sent before the close still goes out, as in TCP.
    if (this.#state === 'up') this.#flush()
    this.abandon()
  }

  /** The process ended: what it had not handed to its operating system is lost. */
  abandon(): void {
    if (this.#state === 'closed') return
    const wasUp = this.#state === 'up'
    this.#end()
    if (wasUp) this.peer!.#arrives(null, 'closed by the other side')
  }

  /** The connection broke: both ends hear it now, and what was on its way is lost. */
  ended(reason: string): void {
    const { peer } = this
    for (const end of [this, peer!]) {
      if (end.#state === 'closed') continue
      end.#end()
      this.network.clock.setTimer(0, () => end.handlers?.onClose(reason))
    }
  }

  up(): void {
    this.#state = 'up'
    if (this.#unsent.length > 0) this.#flushLater()
  }

  /** Takes in what has arrived by now. */
  wake(): void {
    if (this.#waking || this.#arriving.length === 0) return
    this.#waking = true
    const waitMs = Math.max(0, this.#arriving[0]!.atMs - this.network.clock.nowMs())
    this.network.clock.setTimer(waitMs, () => {
      this.#waking = false
      this.#takeIn()
    })
  }

  #takeIn(): void {
    if (this.#state !== 'up' || this.#paused || this.network.isCut(this as unknown as SimEnd<never>)) return
    const next = this.#arriving.shift()
    if (next === undefined) return
    if (next.bytes === null) {
      this.#end()
      this.handlers!.onClose(next.reason)
      return
    }
    this.peer!.#outBytes -= next.bytes.length
    try {
      this.#parser.push(next.bytes, message => {
        if (!this.isClosed) this.handlers!.onMessage(message)
      })
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'StorageError') throw error
      this.close()
      this.handlers!.onClose(error.message)
    }
    this.wake()
  }

  #end(): void {
    this.#state = 'closed'
    this.#unsent = []
    this.#arriving = []
    this.network.gone(this as unknown as SimEnd<never>)
  }

  #flushLater(): void {
    if (this.#flushing) return
    this.#flushing = true
    this.network.clock.endOfTurn(() => this.#flush())
  }

  #flush(): void {
    this.#flushing = false
    if (this.#state !== 'up' || this.#unsent.length === 0) return
    const bytes = Buffer.concat(this.#unsent)
    this.#unsent = []
    // In pieces that know nothing of messages, as TCP delivers them.
    const cut = bytes.length > 1 ? this.network.random.integer(bytes.length) : 0
    if (cut > 0) this.peer!.#arrives(bytes.subarray(0, cut), '')
    this.peer!.#arrives(bytes.subarray(cut), '')
  }

  #arrives(bytes: Buffer | null, reason: string): void {
    if (this.#state === 'closed') return
    const last = this.#arriving.at(-1)
    const atMs = Math.max(last?.atMs ?? 0, this.network.clock.nowMs() + this.network.delayMs())
    this.#arriving.push({ bytes, reason, atMs })
    this.wake()
  }
}
