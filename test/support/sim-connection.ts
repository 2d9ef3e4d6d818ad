import type { Endpoint } from '../../src/model/objects.js'
import type { CloseReason, Connection, ConnectionHandlers } from '../../src/ports/link.js'
import type { ControlMessage } from '../../src/wire/control.js'
import { ControlParser, encodeControl } from '../../src/wire/control-parser.js'
import { type DataFrame, dataHeaderBytes, encodeHeader } from '../../src/wire/data.js'
import { DataParser } from '../../src/wire/data-parser.js'
import { poisonReleased, ReceiveMemory, releasePieces } from '../../src/wire/payload-memory.js'
import type { ProcessClock } from './sim-clock.js'
import type { SimNetwork } from './sim-link.js'

// Whoever uses simulated connections wants to know who looks at memory that he has given away.
poisonReleased(true)

export interface Codec<Message> {
  /** `ownsPayload`: it is released. */
  encode(message: Message, ownsPayload: boolean): Buffer
  parser(): { push(bytes: Buffer, onMessage: (message: Message) => void): void }
  /** What outlives a parse is pinned: what arrives comes in memory that is used again. */
  readonly pinsPayload: boolean
}

export const dataCodec: Codec<DataFrame> = {
  encode(frame, ownsPayload) {
    const header = Buffer.alloc(dataHeaderBytes)
    encodeHeader(frame, header, 0)
    const bytes = Buffer.concat([header, ...frame.body])
    if (ownsPayload) releasePieces(frame.body)
    return bytes
  },
  parser: () => new DataParser(),
  pinsPayload: true,
}

export const controlCodec: Codec<ControlMessage> = {
  encode: encodeControl,
  parser: () => new ControlParser(),
  pinsPayload: false,
}

/** What a socket's buffers hold on both sides together. */
const socketBytes = 256 * 1024
/** After so much silence an operating system finds that the other one is gone. */
const keepAliveMs = 15_000

/** One end of a simulated connection. */
export class SimEnd<Message> implements Connection<Message> {
  peer: SimEnd<Message> | null = null
  handlers: ConnectionHandlers<Message> | null = null
  /** True: the message is not for the handlers. */
  /** Whoever is below the handlers. */
  readonly #closeHearers: (() => void)[] = []
  readonly intercepts: ((message: Message) => boolean)[] = []
  readonly #parser
  #memory: ReceiveMemory | null = null
  #state: 'connecting' | 'up' | 'closed' = 'connecting'
  #paused = false
  /** Encoded in this turn, or before the connection was up. */
  #unsent: Buffer[] = []
  /** On their way to this end, or waiting for it to resume. */
  #arriving: { bytes: Buffer | null; reason: string; atMs: number }[] = []
  #flushing = false
  /** The other side's host has lost power: nobody is there any more, and nobody said so. */
  #orphaned = false
  #waking = false
  #heldUntilMs = 0
  #outBytes = 0

  /** The process at this end, where the network knows it. */
  process: ProcessClock | null

  constructor(
    readonly network: SimNetwork,
    public owner: string,
    readonly local: Endpoint,
    readonly remote: Endpoint,
    readonly codec: Codec<Message>,
  ) {
    this.#parser = codec.parser()
    this.process = network.processOf(owner)
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }
  whenClosed(hear: () => void): void {
    this.#closeHearers.push(hear)
  }
  get queuedBytes(): number {
    return Math.max(0, this.#outBytes - socketBytes)
  }

  send(message: Message, ownsPayload = false): void {
    if (this.#state === 'closed') return
    const bytes = this.codec.encode(message, ownsPayload)
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

  close(dropUnsent = false): void {
    // What was sent before the close still goes out, as in TCP.
    if (this.#state === 'up' && !dropUnsent) this.#flush()
    this.abandon()
    // Nor an end that was on its way to a process that did not run.
    this.handlers = null
  }

  /** The process ended: what it had not handed to its operating system is lost. */
  abandon(): void {
    if (this.#state === 'closed') return
    const wasUp = this.#state === 'up'
    this.#end()
    if (wasUp) this.peer!.#arrives(null, 'closed by the other side')
  }

  /** The connection broke: both ends hear it now, and what was on its way is lost. */
  ended(reason: string, why: CloseReason = 'other'): void {
    const { peer } = this
    for (const end of [this, peer!]) {
      if (end.#state === 'closed') continue
      end.#end()
      this.network.clock.setTimer(0, () => end.#deliver(() => end.handlers?.onClose(reason, why)))
    }
  }

  /** The host lost power: the other side is not told, and finds out when it sends or by keep-alive. */
  vanish(): void {
    if (this.#state === 'closed') return
    const { peer } = this
    this.#end()
    if (peer!.#state !== 'up') return
    peer!.#orphaned = true
    peer!.#keepAlive()
  }

  #keepAlive(): void {
    this.network.clock.setTimer(keepAliveMs, () => {
      if (this.#state === 'up') this.ended('keep-alive timed out')
    })
  }

  /** Sent into the void: if the host is up again its operating system says that it knows no such connection. */
  #sentToNobody(): void {
    if (!this.network.isHostUp(this.peer!.owner)) return
    this.network.clock.setTimer(this.network.delayMs(), () => {
      if (this.#state === 'up' && !this.network.isCut(this as unknown as SimEnd<never>)) this.ended('connection reset')
    })
  }

  #deliver(event: () => void): void {
    if (this.process === null) event()
    else this.process.deliver(event)
  }

  up(): void {
    this.#state = 'up'
    if (this.#unsent.length > 0) this.#flushLater()
  }

  /** A cut is over: what waited arrives after a while. */
  release(afterMs: number): void {
    if (this.#arriving.length > 0) this.#heldUntilMs = this.network.clock.nowMs() + afterMs
    this.wake()
  }

  /** Takes in what has arrived by now. */
  wake(): void {
    if (this.#waking || this.#arriving.length === 0) return
    this.#waking = true
    const waitMs = Math.max(0, Math.max(this.#arriving[0]!.atMs, this.#heldUntilMs) - this.network.clock.nowMs())
    this.network.clock.setTimer(waitMs, () => {
      this.#waking = false
      this.#takeIn()
    })
  }

  #takeIn(): void {
    if (this.#state !== 'up' || this.#paused || this.network.isCut(this as unknown as SimEnd<never>)) return
    if (this.process?.isStalled) return
    if (this.network.clock.nowMs() < this.#heldUntilMs) {
      this.wake()
      return
    }
    const next = this.#arriving.shift()
    if (next === undefined) return
    if (next.bytes === null) {
      this.#end()
      this.#deliver(() => this.handlers?.onClose(next.reason))
      return
    }
    this.#deliver(() => this.#parse(next.bytes!))
    this.wake()
  }

  #parse(bytes: Buffer): void {
    this.peer!.#outBytes -= bytes.length
    const { handlers } = this
    const onMessage = (message: Message) => {
      if (!this.isClosed && !this.intercepts.some(take => take(message))) handlers!.onMessage(message)
    }
    try {
      if (!this.codec.pinsPayload) this.#parser.push(bytes, onMessage)
      else this.#parseInSlabs(bytes, onMessage)
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'StorageError') throw error
      this.close()
      handlers!.onClose(error.message)
    }
  }

  /** Into memory that is used again as soon as nobody has it pinned, as sockets do. */
  #parseInSlabs(bytes: Buffer, onMessage: (message: Message) => void): void {
    this.#memory ??= new ReceiveMemory()
    for (let at = 0; at < bytes.length; ) {
      const place = this.#memory.place()
      const copied = bytes.copy(this.#memory.memory, place, at)
      at += copied
      this.#parser.push(this.#memory.took(copied), onMessage)
      this.#memory.consumed()
    }
  }

  #end(): void {
    this.#state = 'closed'
    for (const hear of this.#closeHearers.splice(0)) hear()
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
    const bytes = this.#unsent.length === 1 ? this.#unsent[0]! : Buffer.concat(this.#unsent)
    this.#unsent = []
    if (this.#orphaned) {
      this.#sentToNobody()
      return
    }
    // In pieces that know nothing of messages, as TCP delivers them.
    const cut = bytes.length > 1 ? this.network.random.integer(bytes.length) : 0
    if (cut > 0) this.peer!.#arrives(bytes.subarray(0, cut), '')
    this.peer!.#arrives(bytes.subarray(cut), '')
  }

  #arrives(bytes: Buffer | null, reason: string): void {
    if (this.#state === 'closed') return
    const last = this.#arriving.at(-1)
    const atMs = Math.max(
      last?.atMs ?? 0,
      this.network.clock.nowMs() + this.network.delayOf(this as unknown as SimEnd<never>),
    )
    this.#arriving.push({ bytes, reason, atMs })
    this.wake()
  }
}
