import { nbdNameBytesMax, nbdOptionBytesMax } from '../../base/limits.js'
import type { BlockBackend, ExportTable } from './backend.js'
import { ByteQueue } from './byte-queue.js'
import { transmissionFlagsOf } from './flags.js'
import { handshakeOptionsMax, optionSkipBytesMax } from './limits.js'
import { infoReplies, optionReply, parseInfoRequest, parseMetaRequest, serverReply } from './options.js'
import {
  allocationContext,
  allocationContextId,
  clientFlags,
  handshakeFlags,
  nbdMagicHigh,
  nbdMagicLow,
  optionMagicHigh,
  optionMagicLow,
  options,
  optionReplies as replies,
} from './protocol.js'

/** How a handshake comes to its end. */
export type HandshakeOutcome =
  | { kind: 'chosen'; backend: BlockBackend; structured: boolean; blockStatus: boolean; unread: Buffer }
  /** The client said goodbye: hang up once it has its replies. */
  | { kind: 'aborted' }
  /** The client broke the protocol, or asked for what cannot be refused otherwise: hang up. */
  | { kind: 'refused'; why: string }

/**
 * The server's side of the handshake ("Fixed newstyle negotiation"), without a socket: bytes in by `take`, one option
 * carried out by each `step`, bytes out in `outbox`. Holds one option's data at most, besides what was read.
 */
export class Handshake {
  readonly outbox: Buffer[] = [greeting()]
  outcome: HandshakeOutcome | null = null
  readonly #exports: ExportTable
  readonly #unread = new ByteQueue()
  #clientFlags: number | null = null
  /** The header of an option whose data has not come in yet. */
  #option: { code: number; dataBytes: number } | null = null
  #skipBytes = 0
  #optionsSeen = 0
  #structured = false
  /** The export for which base:allocation was selected. */
  #contextFor: string | null = null

  constructor(exports: ExportTable) {
    this.#exports = exports
  }

  take(bytes: Buffer): void {
    this.#unread.push(bytes)
  }

  /** Carries out the next thing that has come in completely; false if there is none or the handshake is over. */
  step(): boolean {
    if (this.outcome !== null) return false
    if (this.#clientFlags === null) return this.#takeFlags()
    if (this.#skipBytes > 0) return this.#skip()
    if (this.#option === null) return this.#takeOption()
    const data = this.#unread.take(this.#option.dataBytes)
    if (data === null) return false
    const { code } = this.#option
    this.#option = null
    this.#carryOut(code, data)
    return true
  }

  #takeFlags(): boolean {
    const bytes = this.#unread.take(4)
    if (bytes === null) return false
    this.#clientFlags = bytes.readUInt32BE(0)
    const known = clientFlags.fixedNewstyle | clientFlags.noZeroes
    if ((this.#clientFlags & ~known) !== 0) this.#refuse('unknown client flags')
    return true
  }

  #takeOption(): boolean {
    const header = this.#unread.take(16)
    if (header === null) return false
    if (header.readUInt32BE(0) !== optionMagicHigh || header.readUInt32BE(4) !== optionMagicLow)
      return this.#refuse('the magic of an option')
    const code = header.readUInt32BE(8)
    const dataBytes = header.readUInt32BE(12)
    if (++this.#optionsSeen > handshakeOptionsMax) return this.#refuse('too many options')
    const fixed = ((this.#clientFlags as number) & clientFlags.fixedNewstyle) !== 0
    if (!fixed && code !== options.exportName) return this.#refuse('an option without fixed newstyle')
    if (code === options.exportName && dataBytes > nbdNameBytesMax) return this.#refuse('the length of an export name')
    if (dataBytes > optionSkipBytesMax) return this.#refuse('the length of an option')
    if (dataBytes > nbdOptionBytesMax) {
      this.#skipBytes = dataBytes
      this.#reply(code, replies.errTooBig, `option data is at most ${nbdOptionBytesMax} bytes`)
    } else this.#option = { code, dataBytes }
    return true
  }

  #skip(): boolean {
    const skipped = this.#unread.skip(this.#skipBytes)
    this.#skipBytes -= skipped
    return skipped > 0
  }

  #carryOut(code: number, data: Buffer): void {
    switch (code) {
      case options.exportName:
        this.#exportName(data)
        return
      case options.abort:
        this.#reply(code, replies.ack)
        this.outcome = { kind: 'aborted' }
        return
      case options.list:
        this.#list(code, data)
        return
      case options.info:
      case options.go:
        this.#info(code, data)
        return
      case options.structuredReply:
        this.#structuredReply(code, data)
        return
      case options.listMetaContext:
      case options.setMetaContext:
        this.#metaContext(code, data)
        return
      default:
        this.#reply(code, replies.errUnsupported, 'this option is not supported here')
        return
    }
  }

  /** NBD_OPT_EXPORT_NAME has no way to say no but to hang up. */
  #exportName(data: Buffer): void {
    const backend = this.#find(data.toString('utf8'))
    if (backend === undefined) {
      this.#refuse('no such export')
      return
    }
    const head = Buffer.alloc(10)
    head.writeBigUInt64BE(BigInt(backend.sizeBytes), 0)
    head.writeUInt16BE(this.#flagsOf(backend), 8)
    this.outbox.push(head)
    if (((this.#clientFlags as number) & clientFlags.noZeroes) === 0) this.outbox.push(Buffer.alloc(124))
    this.#choose(backend)
  }

  #list(code: number, data: Buffer): void {
    if (data.length > 0) {
      this.#invalid(code)
      return
    }
    for (const backend of this.#exports.list()) this.outbox.push(serverReply(code, backend))
    this.#reply(code, replies.ack)
  }

  #structuredReply(code: number, data: Buffer): void {
    if (data.length > 0) {
      this.#invalid(code)
      return
    }
    this.#structured = true
    this.#reply(code, replies.ack)
  }

  #info(code: number, data: Buffer): void {
    const request = parseInfoRequest(data)
    if (request === null) {
      this.#invalid(code)
      return
    }
    const backend = this.#find(request.name)
    if (backend === undefined) {
      this.#unknown(code, request.name)
      return
    }
    this.outbox.push(...infoReplies(code, backend, this.#flagsOf(backend), request.wanted))
    this.#reply(code, replies.ack)
    if (code === options.go) this.#choose(backend)
  }

  /** "Metadata querying": base:allocation is all there is; `base:` alone may be listed, not selected. */
  #metaContext(code: number, data: Buffer): void {
    const selects = code === options.setMetaContext
    if (selects) this.#contextFor = null
    const request = parseMetaRequest(data)
    if (request === null || !this.#structured) {
      this.#invalid(code)
      return
    }
    const backend = this.#find(request.name)
    if (backend === undefined) {
      this.#unknown(code, request.name)
      return
    }
    const listsAll = !selects && (request.queries.length === 0 || request.queries.includes('base:'))
    if (listsAll || request.queries.includes(allocationContext)) {
      const id = Buffer.alloc(4)
      id.writeUInt32BE(selects ? allocationContextId : 0)
      this.outbox.push(optionReply(code, replies.metaContext, Buffer.concat([id, Buffer.from(allocationContext)])))
      if (selects) this.#contextFor = backend.name
    }
    this.#reply(code, replies.ack)
  }

  /** The export of that name; the empty name is the only export, where there is only one ("NBD_OPT_EXPORT_NAME"). */
  #find(name: string): BlockBackend | undefined {
    if (name !== '') return this.#exports.find(name)
    const all = this.#exports.list()
    return all.length === 1 ? all[0] : undefined
  }

  #flagsOf(backend: BlockBackend): number {
    return transmissionFlagsOf(backend, Number.POSITIVE_INFINITY, this.#structured)
  }

  #choose(backend: BlockBackend): void {
    this.outcome = {
      kind: 'chosen',
      backend,
      structured: this.#structured,
      blockStatus: this.#contextFor === backend.name,
      unread: this.#unread.takeAll(),
    }
  }

  #reply(code: number, type: number, say = ''): void {
    this.outbox.push(optionReply(code, type, Buffer.from(say)))
  }

  #invalid(code: number): void {
    this.#reply(code, replies.errInvalid, 'the data of this option is malformed, or comes too early')
  }

  #unknown(code: number, name: string): void {
    this.#reply(code, replies.errUnknown, name === '' ? 'there is no default export; name one' : 'no such export')
  }

  #refuse(why: string): false {
    this.outcome = { kind: 'refused', why }
    return false
  }
}

function greeting(): Buffer {
  const bytes = Buffer.alloc(18)
  bytes.writeUInt32BE(nbdMagicHigh, 0)
  bytes.writeUInt32BE(nbdMagicLow, 4)
  bytes.writeUInt32BE(optionMagicHigh, 8)
  bytes.writeUInt32BE(optionMagicLow, 12)
  bytes.writeUInt16BE(handshakeFlags.fixedNewstyle | handshakeFlags.noZeroes, 16)
  return bytes
}
