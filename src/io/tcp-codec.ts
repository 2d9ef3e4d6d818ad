import { controlBytesMax } from '../base/limits.js'
import { MiB } from '../base/units.js'
import type { ControlMessage } from '../wire/control.js'
import { ControlParser, encodeControl } from '../wire/control-parser.js'
import { type DataFrame, dataHeaderBytes, encodeHeader } from '../wire/data.js'
import { DataParser } from '../wire/data-parser.js'

/** What a stranger's first control message may hold; `hello` is far smaller. */
const firstMessageBytesMax = 1 * MiB
const slabBytes = 256 * dataHeaderBytes

/** Turns the messages of one connection into bytes and back. */
export interface Codec<Message> {
  /** Encodes now: the message may be changed or used again afterwards, the payload may not. Returns its bytes. */
  put(message: Message): number
  /** What was put since the last take, in pieces for one vectored write. */
  take(): Uint8Array[]
  /** Throws PROTOCOL at what is malformed. */
  parse(bytes: Buffer, onMessage: (message: Message) => void): void
}

/** Headers are written one behind the other into a slab; those without payload between them leave as one piece. */
export class DataCodec implements Codec<DataFrame> {
  readonly #parser = new DataParser()
  #pieces: Uint8Array[] = []
  #slab = Buffer.allocUnsafeSlow(slabBytes)
  #from = 0
  #at = 0

  put(frame: DataFrame): number {
    encodeHeader(frame, this.#slab, this.#at)
    this.#at += dataHeaderBytes
    if (frame.bodyBytes > 0) {
      this.#endRun()
      for (const piece of frame.body) this.#pieces.push(piece)
    }
    if (this.#at === slabBytes) {
      this.#endRun()
      // The old one lives until its last header has been sent.
      this.#slab = Buffer.allocUnsafeSlow(slabBytes)
      this.#from = 0
      this.#at = 0
    }
    return dataHeaderBytes + frame.bodyBytes
  }

  take(): Uint8Array[] {
    this.#endRun()
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  parse(bytes: Buffer, onMessage: (frame: DataFrame) => void): void {
    this.#parser.push(bytes, onMessage)
  }

  #endRun(): void {
    if (this.#from === this.#at) return
    this.#pieces.push(this.#slab.subarray(this.#from, this.#at))
    this.#from = this.#at
  }
}

export class ControlCodec implements Codec<ControlMessage> {
  readonly #parser: ControlParser
  #pieces: Uint8Array[] = []

  /** `stranger`: the other side connected to us and has not said anything yet. */
  constructor(stranger: boolean) {
    this.#parser = new ControlParser(stranger ? firstMessageBytesMax : controlBytesMax)
  }

  put(message: ControlMessage): number {
    const bytes = encodeControl(message)
    this.#pieces.push(bytes)
    return bytes.length
  }

  take(): Uint8Array[] {
    const pieces = this.#pieces
    this.#pieces = []
    return pieces
  }

  parse(bytes: Buffer, onMessage: (message: ControlMessage) => void): void {
    this.#parser.push(bytes, message => {
      this.#parser.bytesMax = controlBytesMax
      onMessage(message)
    })
  }
}
