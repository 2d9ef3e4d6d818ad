import { nbdNameBytesMax, nbdPayloadBytesMax } from '../../base/limits.js'
import type { BlockBackend } from './backend.js'
import { preferredBlockBytes, sectorBytes } from './limits.js'
import { infos, optionReplies, optionReplyMagicHigh, optionReplyMagicLow } from './protocol.js'

/** Option data taken apart, and option replies laid out ("Option types", "Option reply types"). null: malformed. */

/** NBD_OPT_INFO and NBD_OPT_GO: name length u32, name, count u16, information requests u16. */
export function parseInfoRequest(data: Buffer): { name: string; wanted: Set<number> } | null {
  if (data.length < 6) return null
  const nameBytes = data.readUInt32BE(0)
  if (nameBytes > nbdNameBytesMax || nameBytes > data.length - 6) return null
  const count = data.readUInt16BE(4 + nameBytes)
  if (data.length !== 6 + nameBytes + 2 * count) return null
  const wanted = new Set<number>()
  for (let i = 0; i < count; i++) wanted.add(data.readUInt16BE(6 + nameBytes + 2 * i))
  return { name: data.toString('utf8', 4, 4 + nameBytes), wanted }
}

/** NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT: name, count u32, queries, each a string with its length. */
export function parseMetaRequest(data: Buffer): { name: string; queries: string[] } | null {
  const name = stringAt(data, 0)
  if (name === null || name.next + 4 > data.length) return null
  const count = data.readUInt32BE(name.next)
  const queries: string[] = []
  let at = name.next + 4
  for (let i = 0; i < count; i++) {
    const query = stringAt(data, at)
    if (query === null) return null
    queries.push(query.text)
    at = query.next
  }
  return at === data.length ? { name: name.text, queries } : null
}

function stringAt(data: Buffer, at: number): { text: string; next: number } | null {
  if (at + 4 > data.length) return null
  const bytes = data.readUInt32BE(at)
  const next = at + 4 + bytes
  if (bytes > nbdNameBytesMax || next > data.length) return null
  return { text: data.toString('utf8', at + 4, next), next }
}

/** Reply magic u64 | 8 option u32 | 12 reply type u32 | 16 length u32 | data. */
export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(20)
  head.writeUInt32BE(optionReplyMagicHigh, 0)
  head.writeUInt32BE(optionReplyMagicLow, 4)
  head.writeUInt32BE(option, 8)
  head.writeUInt32BE(type, 12)
  head.writeUInt32BE(data.length, 16)
  return Buffer.concat([head, data])
}

/** NBD_REP_SERVER: the name, and the description as text for people. */
export function serverReply(option: number, backend: BlockBackend): Buffer {
  const name = Buffer.from(backend.name)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(name.length)
  return optionReply(option, optionReplies.server, Buffer.concat([length, name, Buffer.from(backend.description)]))
}

/** What INFO and GO say of an export: the information that everybody needs, and what was asked for. */
export function infoReplies(option: number, backend: BlockBackend, flags: number, wanted: Set<number>): Buffer[] {
  const exported = Buffer.alloc(12)
  exported.writeUInt16BE(infos.export, 0)
  exported.writeBigUInt64BE(BigInt(backend.sizeBytes), 2)
  exported.writeUInt16BE(flags, 10)
  const blockSize = Buffer.alloc(14)
  blockSize.writeUInt16BE(infos.blockSize, 0)
  blockSize.writeUInt32BE(sectorBytes, 2)
  blockSize.writeUInt32BE(preferredBlockBytes, 6)
  blockSize.writeUInt32BE(nbdPayloadBytesMax, 10)
  const all: Buffer[] = [exported, blockSize]
  if (wanted.has(infos.name)) all.push(textInfo(infos.name, backend.name))
  if (wanted.has(infos.description)) all.push(textInfo(infos.description, backend.description))
  return all.map(data => optionReply(option, optionReplies.info, data))
}

function textInfo(type: number, text: string): Buffer {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(type)
  return Buffer.concat([head, Buffer.from(text).subarray(0, nbdNameBytesMax)])
}
