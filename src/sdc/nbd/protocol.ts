import type { NbdErrno } from './backend.js'

/**
 * The numbers of the NBD protocol, as doc/proto.md of NetworkBlockDevice/nbd names them (section "Values"). All integers
 * are big-endian. Only what this server speaks is here.
 */

/** "Newstyle negotiation". */
export const nbdMagicHigh = 0x4e42444d // "NBDM"
export const nbdMagicLow = 0x41474943 // "AGIC"
export const optionMagicHigh = 0x49484156 // "IHAV"
export const optionMagicLow = 0x454f5054 // "EOPT"
export const optionReplyMagicHigh = 0x0003e889
export const optionReplyMagicLow = 0x045565a9

export const handshakeFlags = { fixedNewstyle: 1, noZeroes: 2 } as const
export const clientFlags = { fixedNewstyle: 1, noZeroes: 2 } as const

/** "Transmission flags". */
export const transmissionFlags = {
  hasFlags: 1 << 0,
  readOnly: 1 << 1,
  sendFlush: 1 << 2,
  sendFua: 1 << 3,
  sendTrim: 1 << 5,
  sendWriteZeroes: 1 << 6,
  sendDf: 1 << 7,
  canMultiConn: 1 << 8,
  sendCache: 1 << 10,
} as const

/** "Option types". */
export const options = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
} as const

/** "Option reply types". */
export const optionReplies = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  errUnsupported: 0x8000_0001,
  errInvalid: 0x8000_0003,
  errUnknown: 0x8000_0006,
  errShutdown: 0x8000_0007,
  errTooBig: 0x8000_0009,
} as const

export const infos = { export: 0, name: 1, description: 2, blockSize: 3 } as const

/** "Request types". */
export const commands = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const

/** "Command flags". FAST_ZERO (bit 4) and PAYLOAD_LEN (bit 5) are never offered, so they are unknown here. */
export const commandFlags = { fua: 1 << 0, noHole: 1 << 1, df: 1 << 2, reqOne: 1 << 3 } as const

/** "Request message": magic u32 | 4 flags u16 | 6 type u16 | 8 cookie u64 | 16 offset u64 | 24 length u32. */
export const requestMagic = 0x25609513
export const requestBytes = 28

/** "Simple reply message": magic u32 | 4 error u32 | 8 cookie u64 | then the data of a read. */
export const simpleReplyMagic = 0x67446698
export const simpleReplyBytes = 16

/** "Structured reply chunk message": magic u32 | 4 flags u16 | 6 type u16 | 8 cookie u64 | 16 length u32 | payload. */
export const structuredReplyMagic = 0x668e33ef
export const structuredReplyBytes = 20
export const chunkFlagDone = 1
export const chunkTypes = { none: 0, offsetData: 1, blockStatus: 5, error: 0x8001 } as const
/** An OFFSET_DATA chunk: header, offset u64, then the data. */
export const offsetDataBytes = structuredReplyBytes + 8

/** "Metadata contexts". */
export const allocationContext = 'base:allocation'
export const allocationContextId = 1
export const blockStates = { hole: 1, zero: 2 } as const

/** "Error values". */
export const errnoValues = {
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const satisfies Record<NbdErrno, number>
