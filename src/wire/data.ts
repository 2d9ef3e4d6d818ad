/**
 * The data protocol, whole: what SDCs, SDSs and the checker say to an SDS's data endpoint. One TCP connection carries
 * frames both ways; a reply repeats the request's opcode and requestId. docs/PROTOCOL.md explains the rules.
 *
 * Frame, big-endian, 64 bytes and then `bodyBytes` of payload:
 *
 *     0  magic      u16   0xb10c          2  version  u8      3  opcode  u8
 *     4  flags      u16                   6  status   u16   (errorTable's `wire`; 0 is success; requests send 0)
 *     8  requestId  u32                  12  bodyBytes u32
 *    16  slice      u32                  20  epoch    u32
 *    24  mapping    u32   number of the mapping relied on; 0 between servers
 *    28  volume     u32   number
 *    32  chunk      u32   index in the volume
 *    36  offset     u32   in the chunk, bytes
 *    40  length     u32   bytes; for a write equal to bodyBytes
 *    44  pool       u32   number of the slice's pool
 *    48  mapVersion u64   version of the map that the sender has
 *    56  checksum   u32   reserved for crc32c of the payload, 0
 *    60  reserved   u32   0
 */
import type { MapDelta } from '../model/cluster-map.js'

export const dataMagic = 0xb10c
export const dataVersion = 1
export const dataHeaderBytes = 64

export const opcodes = {
  /** First frame of a connection. Body: msgpack `DataHello`; reply body: msgpack `DataWelcome`. */
  hello: 0x01,
  /** Answered at once; shows that the other side lives. */
  ping: 0x02,
  /**
   * SDS to SDS, on a connection of its own (hello kind `lease`, no device): asks for the promise of rule 3. Body: msgpack
   * `LeaseAsk`; reply body: msgpack `LeaseAnswer`.
   */
  lease: 0x03,

  /** Client to primary. Read: reply body is the data. Zero: with `keepAllocated` whole chunks stay allocated. */
  read: 0x10,
  write: 0x11,
  trim: 0x12,
  zero: 0x13,
  /** To any copy. Body: pairs of u32 (slice, epoch) of one pool (`pool`); all that was answered in them becomes durable. */
  flush: 0x14,
  /**
   * Which of `length` chunks from `chunk` of `volume` are allocated, as far as this device is their primary. Reply body:
   * two bitmaps of ceil(length / 8) bytes, bit i of byte i>>3 (1 << (i & 7)): answered here, and allocated.
   */
  allocation: 0x15,

  /** Primary to another copy. `resync` writes fill a joining copy and are ordered like any other write. */
  copyRead: 0x20,
  copyWrite: 0x21,
  copyTrim: 0x22,
  copyZero: 0x23,
  /** Starts filling `slice` of the joining copy. Body: pairs of u32 (volume, chunk) that the primary has; all others go. */
  resyncBegin: 0x24,
  /** Everything of `slice` is durable before the answer. */
  resyncSync: 0x25,
  /** Which regions of `slice` the joining copy has marked. Reply body: pairs of u32 (volume, chunk). */
  resyncMarks: 0x26,
  /** The primary has both copies synced since the last change of these regions. Body: pairs of u32 (volume, chunk). */
  copyUnmark: 0x27,

  /** Server to server: body msgpack `MapDelta[]`, in log order. No reply. */
  mapChanges: 0x30,
  /** Checker to primary: compares all copies of `slice` under the range lock. Reply body: msgpack `CompareReport`. */
  compare: 0x31,
} as const
export type Opcode = (typeof opcodes)[keyof typeof opcodes]

export const frameFlags = {
  reply: 1,
  /** Durable on every copy before the answer. */
  fua: 2,
  /** zero: whole chunks stay allocated (NBD's NO_HOLE). */
  keepAllocated: 4,
  /** copyWrite, copyZero, copyTrim: part of filling a joining copy; may use the spare. */
  resync: 8,
} as const

export interface DataHello {
  systemId: string
  /** Who asks: an SDC, another SDS, or the checker (compare only). */
  kind: 'sdc' | 'sds' | 'check' | 'lease'
  /** Number of the SDC or SDS; 0 for the checker. */
  client: number
  /** Rule 7: from the MDM, then counted by the client for each new session at this endpoint. */
  incarnation: number
  counter: number
  /** The device that this connection speaks to. */
  deviceId: string
  mapVersion: number
}

export interface DataWelcome {
  sdsId: string
  mapVersion: number
}

export interface LeaseAsk {
  incarnation: number
  mapVersion: number
}

/** `deltas`: what the asker lacks; then nothing was granted, and it asks again. */
export interface LeaseAnswer {
  granted: boolean
  incarnation: number
  mapVersion: number
  deltas: MapDelta[]
  /** The length of the leases that this granter gives; the holder counts the shorter one of both sides'. */
  leaseMs: number
}

export interface CompareReport {
  slice: number
  chunksCompared: number
  bytesCompared: number
  differences: { volume: number; chunk: number; deviceId: string; offsetBytes: number; what: string }[]
}

/**
 * One frame in memory. `body` is the payload as it came, in pieces; it is never concatenated on the hot path. A reply
 * with a status has the error's sentence (utf-8) as its body, except STALE_EPOCH: msgpack `MapDelta[]` that the
 * requester lacks (empty: ask the MDM).
 */
export interface DataFrame {
  opcode: number
  flags: number
  status: number
  requestId: number
  slice: number
  epoch: number
  mapping: number
  volume: number
  chunk: number
  offset: number
  length: number
  pool: number
  mapVersion: number
  body: Buffer[]
  bodyBytes: number
}

/** Writes the header of `frame` at `at` of `target`. */
export function encodeHeader(frame: DataFrame, target: Buffer, at: number): void {
  target.writeUInt32BE(((dataMagic << 16) | (dataVersion << 8) | frame.opcode) >>> 0, at)
  target.writeUInt32BE(((frame.flags << 16) | frame.status) >>> 0, at + 4)
  target.writeUInt32BE(frame.requestId, at + 8)
  target.writeUInt32BE(frame.bodyBytes, at + 12)
  target.writeUInt32BE(frame.slice, at + 16)
  target.writeUInt32BE(frame.epoch, at + 20)
  target.writeUInt32BE(frame.mapping, at + 24)
  target.writeUInt32BE(frame.volume, at + 28)
  target.writeUInt32BE(frame.chunk, at + 32)
  target.writeUInt32BE(frame.offset, at + 36)
  target.writeUInt32BE(frame.length, at + 40)
  target.writeUInt32BE(frame.pool, at + 44)
  target.writeUInt32BE(Math.floor(frame.mapVersion / 2 ** 32), at + 48)
  target.writeUInt32BE(frame.mapVersion >>> 0, at + 52)
  target.writeUInt32BE(0, at + 56)
  target.writeUInt32BE(0, at + 60)
}

/** Reads a header; `body` is left empty. The caller has checked magic, version and bodyBytes (`checkHeader`). */
export function decodeHeader(source: Buffer, at: number): DataFrame {
  return {
    opcode: source[at + 3]!,
    flags: source.readUInt16BE(at + 4),
    status: source.readUInt16BE(at + 6),
    requestId: source.readUInt32BE(at + 8),
    slice: source.readUInt32BE(at + 16),
    epoch: source.readUInt32BE(at + 20),
    mapping: source.readUInt32BE(at + 24),
    volume: source.readUInt32BE(at + 28),
    chunk: source.readUInt32BE(at + 32),
    offset: source.readUInt32BE(at + 36),
    length: source.readUInt32BE(at + 40),
    pool: source.readUInt32BE(at + 44),
    mapVersion: source.readUInt32BE(at + 48) * 2 ** 32 + source.readUInt32BE(at + 52),
    body: [],
    bodyBytes: source.readUInt32BE(at + 12),
  }
}

/** A request frame with every field zero but those given; `body` sets `bodyBytes`. */
export function makeFrame(fields: Partial<DataFrame> & { opcode: number }): DataFrame {
  const body = fields.body ?? noBody
  return {
    opcode: fields.opcode,
    flags: fields.flags ?? 0,
    status: fields.status ?? 0,
    requestId: fields.requestId ?? 0,
    slice: fields.slice ?? 0,
    epoch: fields.epoch ?? 0,
    mapping: fields.mapping ?? 0,
    volume: fields.volume ?? 0,
    chunk: fields.chunk ?? 0,
    offset: fields.offset ?? 0,
    length: fields.length ?? 0,
    pool: fields.pool ?? 0,
    mapVersion: fields.mapVersion ?? 0,
    body,
    bodyBytes: bytesOf(body),
  }
}

/**
 * What a primary asks of another copy for a client's `request`, at the same place unless it is named. Frames of the hot path
 * are literals with every field in the order of `DataFrame`: objects that are spread have shapes of their own, and slow
 * down whoever looks at frames.
 */
export function makeCopyFrame(
  request: DataFrame,
  opcode: Opcode,
  flags: number,
  epoch: number,
  { offset = request.offset, length = request.length, body = noBody }: Partial<DataFrame> = {},
): DataFrame {
  return {
    opcode,
    flags,
    status: 0,
    requestId: 0,
    slice: request.slice,
    epoch,
    mapping: 0,
    volume: request.volume,
    chunk: request.chunk,
    offset,
    length,
    pool: request.pool,
    mapVersion: 0,
    body,
    bodyBytes: bytesOf(body),
  }
}

/** The answer to `request`: same opcode, id and place. */
export function makeReply(request: DataFrame, status: number, body: Buffer[] = noBody): DataFrame {
  return {
    opcode: request.opcode,
    flags: frameFlags.reply,
    status,
    requestId: request.requestId,
    slice: request.slice,
    epoch: request.epoch,
    mapping: request.mapping,
    volume: request.volume,
    chunk: request.chunk,
    offset: request.offset,
    length: request.length,
    pool: request.pool,
    mapVersion: 0,
    body,
    bodyBytes: bytesOf(body),
  }
}

const noBody: Buffer[] = []

export function bytesOf(pieces: readonly Uint8Array[]): number {
  let total = 0
  for (const piece of pieces) total += piece.byteLength
  return total
}
