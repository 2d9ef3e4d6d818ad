import { StorageError } from '../base/errors.js'
import { frameBodyBytesMax } from '../base/limits.js'
import { type DataFrame, dataHeaderBytes, dataMagic, dataVersion, decodeHeader } from './data.js'
import { cutPinned } from './payload-memory.js'

/**
 * Cuts a byte stream into data frames. Payload is handed on as cuts of what came in, pinned where that is a slab (see
 * payload-memory.ts); only a header that straddles two reads is copied. One peer holds at most one unfinished frame.
 */
export class DataParser {
  #partHeader: Buffer | null = null
  #frame: DataFrame | null = null
  #missingBytes = 0

  /**
   * Takes what a read returned and calls `onFrame` for
   * each frame that is complete. Throws PROTOCOL at the first malformed header; the connection is then closed.
   */
  push(bytes: Buffer, onFrame: (frame: DataFrame) => void): void {
    let at = 0
    while (at < bytes.length) {
      if (this.#frame === null) {
        at = this.#takeHeader(bytes, at)
        if (this.#frame === null) return
      } else {
        const taken = Math.min(this.#missingBytes, bytes.length - at)
        ;(this.#frame as DataFrame).body.push(cutPinned(bytes, at, at + taken))
        this.#missingBytes -= taken
        at += taken
      }
      if (this.#missingBytes === 0) {
        const frame: DataFrame = this.#frame
        this.#frame = null
        onFrame(frame)
      }
    }
  }

  #takeHeader(bytes: Buffer, at: number): number {
    let header = bytes
    let headerAt = at
    let next = at + dataHeaderBytes
    if (this.#partHeader !== null || next > bytes.length) {
      const have = this.#partHeader ?? Buffer.alloc(0)
      next = Math.min(bytes.length, at + dataHeaderBytes - have.length)
      header = Buffer.concat([have, bytes.subarray(at, next)])
      headerAt = 0
      this.#partHeader = header.length < dataHeaderBytes ? header : null
      if (this.#partHeader !== null) return next
    }
    checkHeader(header, headerAt)
    this.#frame = decodeHeader(header, headerAt)
    this.#missingBytes = this.#frame.bodyBytes
    return next
  }
}

function checkHeader(header: Buffer, at: number): void {
  const magic = header.readUInt16BE(at)
  const version = header[at + 2]!
  const bodyBytes = header.readUInt32BE(at + 12)
  if (magic !== dataMagic) throw new StorageError('PROTOCOL', { field: 'magic', have: magic, want: dataMagic })
  if (version !== dataVersion)
    throw new StorageError('PROTOCOL', { field: 'version', have: version, want: dataVersion })
  if (bodyBytes > frameBodyBytesMax)
    throw new StorageError('PROTOCOL', { field: 'bodyBytes', have: bodyBytes, max: frameBodyBytesMax })
}
