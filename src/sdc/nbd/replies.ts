import type { Extent, NbdErrno } from './backend.js'
import { extentsPerReplyMax } from './limits.js'
import {
  allocationContextId,
  blockStates,
  chunkFlagDone,
  chunkTypes,
  errnoValues,
  offsetDataBytes,
  simpleReplyBytes,
  simpleReplyMagic,
  structuredReplyBytes,
  structuredReplyMagic,
} from './protocol.js'
import type { ReplyQueue } from './reply-queue.js'
import type { NbdRequest } from './request.js'

/** Lays out replies ("Simple reply message", "Structured reply chunk message"). */

/** Success of anything but a read or a block status, and errors where structured replies were not negotiated. */
export function queueSimple(queue: ReplyQueue, request: NbdRequest, errno: NbdErrno | null): void {
  const at = queue.room(simpleReplyBytes)
  const slab = queue.slab
  putSimple(slab, at, request, errno === null ? 0 : errnoValues[errno])
}

/** The bytes in front of a read's data. */
export const readHeaderBytes = (structured: boolean): number => (structured ? offsetDataBytes : simpleReplyBytes)

/** Fills in the header in front of the data in `request.reply` and queues both as one piece. */
export function queueRead(queue: ReplyQueue, request: NbdRequest, structured: boolean): void {
  const reply = request.reply as Buffer
  if (structured) {
    putChunk(reply, 0, request, chunkTypes.offsetData, 8 + request.lengthBytes)
    reply.writeUInt32BE(Math.floor(request.offsetBytes / 2 ** 32), structuredReplyBytes)
    reply.writeUInt32BE(request.offsetBytes % 2 ** 32, structuredReplyBytes + 4)
  } else putSimple(reply, 0, request, 0)
  queue.add(reply)
}

/** NBD_REPLY_TYPE_ERROR with a sentence. */
export function queueError(queue: ReplyQueue, request: NbdRequest, errno: NbdErrno, say: string): void {
  const sentenceBytes = Buffer.byteLength(say)
  const at = queue.room(structuredReplyBytes + 6 + sentenceBytes)
  const slab = queue.slab
  putChunk(slab, at, request, chunkTypes.error, 6 + sentenceBytes)
  slab.writeUInt32BE(errnoValues[errno], at + structuredReplyBytes)
  slab.writeUInt16BE(sentenceBytes, at + structuredReplyBytes + 4)
  slab.write(say, at + structuredReplyBytes + 6)
}

/** NBD_REPLY_TYPE_BLOCK_STATUS: what is no hole has status 0, which is always true to say. */
export function queueExtents(queue: ReplyQueue, request: NbdRequest, extents: Extent[], extentsMax: number): void {
  const shown = cutExtents(extents, request.lengthBytes, Math.min(extentsMax, extentsPerReplyMax))
  const at = queue.room(structuredReplyBytes + 4 + 8 * shown.length)
  const slab = queue.slab
  putChunk(slab, at, request, chunkTypes.blockStatus, 4 + 8 * shown.length)
  let next = slab.writeUInt32BE(allocationContextId, at + structuredReplyBytes)
  for (const extent of shown) {
    next = slab.writeUInt32BE(extent.lengthBytes, next)
    next = slab.writeUInt32BE(extent.hole ? blockStates.hole | blockStates.zero : 0, next)
  }
}

/** At least one descriptor, none empty, together no longer than what was asked. */
function cutExtents(extents: Extent[], lengthBytes: number, extentsMax: number): Extent[] {
  const shown: Extent[] = []
  let leftBytes = lengthBytes
  for (const extent of extents) {
    if (leftBytes === 0 || shown.length === extentsMax) break
    const shownBytes = Math.min(extent.lengthBytes, leftBytes)
    if (shownBytes === 0) continue
    shown.push({ lengthBytes: shownBytes, hole: extent.hole })
    leftBytes -= shownBytes
  }
  return shown.length > 0 ? shown : [{ lengthBytes, hole: false }]
}

function putSimple(target: Buffer, at: number, request: NbdRequest, error: number): void {
  target.writeUInt32BE(simpleReplyMagic, at)
  target.writeUInt32BE(error, at + 4)
  target.writeUInt32BE(request.cookieHigh, at + 8)
  target.writeUInt32BE(request.cookieLow, at + 12)
}

function putChunk(target: Buffer, at: number, request: NbdRequest, type: number, payloadBytes: number): void {
  target.writeUInt32BE(structuredReplyMagic, at)
  target.writeUInt16BE(chunkFlagDone, at + 4)
  target.writeUInt16BE(type, at + 6)
  target.writeUInt32BE(request.cookieHigh, at + 8)
  target.writeUInt32BE(request.cookieLow, at + 12)
  target.writeUInt32BE(payloadBytes, at + 16)
}
