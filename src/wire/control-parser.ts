import { StorageError } from '../base/errors.js'
import { controlBytesMax } from '../base/limits.js'
import { decode, encode } from './codec.js'
import type { ControlMessage } from './control.js'

/** One message as it goes over the wire. */
export function encodeControl(message: ControlMessage): Buffer {
  const body = encode(message)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(body.length)
  return Buffer.concat([length, body])
}

/** Cuts a byte stream into control messages. Memory grows only with bytes that really came, up to `bytesMax`. */
export class ControlParser {
  #pieces: Buffer[] = []
  #haveBytes = 0

  /** `bytesMax`: the largest message taken from this peer; may be raised when it has said who it is. */
  constructor(public bytesMax = controlBytesMax) {}

  /** Calls `onMessage` for each complete message; throws PROTOCOL at the first malformed one. */
  push(bytes: Buffer, onMessage: (message: ControlMessage) => void): void {
    this.#pieces.push(bytes)
    this.#haveBytes += bytes.length
    while (this.#haveBytes >= 4) {
      const lengthBytes = this.#peekLength()
      if (lengthBytes > this.bytesMax)
        throw new StorageError('PROTOCOL', { field: 'length', have: lengthBytes, max: this.bytesMax })
      if (this.#haveBytes < 4 + lengthBytes) return
      const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces)
      const rest = all.subarray(4 + lengthBytes)
      this.#pieces = rest.length > 0 ? [rest] : []
      this.#haveBytes = rest.length
      onMessage(checkMessage(all.subarray(4, 4 + lengthBytes)))
    }
  }

  #peekLength(): number {
    if (this.#pieces[0]!.length < 4) this.#pieces = [Buffer.concat(this.#pieces)]
    return this.#pieces[0]!.readUInt32BE(0)
  }
}

function checkMessage(bytes: Buffer): ControlMessage {
  let value: unknown
  try {
    value = decode(bytes)
  } catch (cause) {
    throw new StorageError('PROTOCOL', { field: 'message', detail: 'a control message is not msgpack' }, { cause })
  }
  const message = value as ControlMessage
  const sound =
    typeof message === 'object' &&
    message !== null &&
    ((message.kind === 'request' && Number.isSafeInteger(message.id) && typeof message.name === 'string') ||
      (message.kind === 'answer' && Number.isSafeInteger(message.id)) ||
      (message.kind === 'notice' && typeof message.name === 'string'))
  if (!sound) throw new StorageError('PROTOCOL', { field: 'kind', detail: 'not a control message' })
  return message
}
