import { controlBytesMax } from '../base/limits.js'
import { KiB, MiB } from '../base/units.js'
import type { ControlMessage } from '../wire/control.js'
import { ControlParser, encodeControl } from '../wire/control-parser.js'
import { type DataFrame, dataHeaderBytes, encodeHeader } from '../wire/data.js'
import { DataParser } from '../wire/data-parser.js'
import { releasePieces } from '../wire/payload-memory.js'

/** What a stranger's first control message may hold; `hello` is far smaller. */
const firstMessageBytesMax = 1 * MiB
/** Payloads up to this are copied into the slab. */
const copiedBytesMax = 8 * KiB
const slabBytes = 64 * KiB

/** Turns the messages of one connection into bytes and back. */
export interface Codec<Message> {
  /**
   * Encodes now: the message may be changed or used again afterwards, its payload may not. `ownsPayload`: it is released
   * when it has left. Returns its bytes.
   */
  put(message: Message, ownsPayload?: boolean): number
  /** What was put since the last take, in pieces for one vectored write. Never empty where something was put. */
  take(): Uint8Array[]
  /** The operating system has all of one take. */
  readonly written: ((error?: Error | null) => void) | undefined
  /** Throws PROTOCOL at what is malformed. */
  parse(bytes: Buffer, onMessage: (message: Message) => void): void
  /** Whatever outlives `parse` is pinned, so that the memory of what was read may be used again. */
  readonly pinsPayload: boolean
}

/**
 * Headers are written one behind the other into a slab, and small payloads with them, which is cheaper than a piece of
 * their own in the vectored write; what lies between large payloads leaves as one piece. A slab is used from its
 * beginning again when the operating system has everything that was laid into it.
 */
export class DataCodec implements Codec<DataFrame> {
  readonly pinsPayload = true
  readonly #parser = new DataParser()
  #pieces: Uint8Array[] = []
  #slab = Buffer.allocUnsafeSlow(slabBytes)
  #from = 0
  #at = 0
  /** Released when what was taken last has left, and so everything before. */
  #owned: Buffer[] = []
  #takesUnwritten = 0

  put(frame: DataFrame, ownsPayload = false): number {
    const { bodyBytes } = frame
    const isCopied = bodyBytes <= copiedBytesMax
    const needBytes = isCopied ? dataHeaderBytes + bodyBytes : dataHeaderBytes
    if (this.#at + needBytes > slabBytes) this.#renew()
    encodeHeader(frame, this.#slab, this.#at)
    this.#at += dataHeaderBytes
    if (isCopied) {
      for (const piece of frame.body) this.#at += piece.copy(this.#slab, this.#at)
      if (ownsPayload) releasePieces(frame.body)
    } else {
      this.#endRun()
      for (const piece of frame.body) this.#pieces.push(piece)
      if (ownsPayload) this.#owned.push(...frame.body)
    }
    return dataHeaderBytes + bodyBytes
  }

  take(): Uint8Array[] {
    this.#endRun()
    const pieces = this.#pieces
    this.#pieces = []
    this.#takesUnwritten++
    return pieces
  }

  readonly written = (error?: Error | null): void => {
    if (error) return
    this.#takesUnwritten--
    if (this.#takesUnwritten > 0 || this.#pieces.length > 0 || this.#from !== this.#at) return
    releasePieces(this.#owned)
    this.#owned = []
    this.#from = 0
    this.#at = 0
  }

  parse(bytes: Buffer, onMessage: (frame: DataFrame) => void): void {
    this.#parser.push(bytes, onMessage)
  }

  #renew(): void {
    this.#endRun()
    // The old one lives until its last byte has been sent.
    this.#slab = Buffer.allocUnsafeSlow(slabBytes)
    this.#from = 0
    this.#at = 0
  }

  #endRun(): void {
    if (this.#from === this.#at) return
    this.#pieces.push(this.#slab.subarray(this.#from, this.#at))
    this.#from = this.#at
  }
}

export class ControlCodec implements Codec<ControlMessage> {
  readonly pinsPayload = false
  readonly written = undefined
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
