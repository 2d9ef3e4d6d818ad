import { type Duplex, duplexPair } from 'node:stream'
import { type Clock, type Log, silentLog } from '../../../../src/ports/index.js'
import type { BlockBackend, ExportTable } from '../../../../src/sdc/nbd/backend.js'
import { type NbdConnection, serveNbd, serveTransmission } from '../../../../src/sdc/nbd/connection.js'

/** Time that passes when the test says so; a turn ends as in a process. */
export class ManualClock implements Clock {
  #nowMs = 0
  #timers: { atMs: number; fire: () => void }[] = []

  nowMs = () => this.#nowMs
  endOfTurn = (fire: () => void) => void setImmediate(fire)

  setTimer(delayMs: number, fire: () => void) {
    const timer = { atMs: this.#nowMs + delayMs, fire }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter(other => other !== timer)
      },
    }
  }

  get timersCount(): number {
    return this.#timers.length
  }

  pass(ms: number): void {
    this.#nowMs += ms
    const due = this.#timers.filter(timer => timer.atMs <= this.#nowMs)
    this.#timers = this.#timers.filter(timer => timer.atMs > this.#nowMs)
    for (const timer of due) timer.fire()
  }
}

/** A client that speaks NBD byte by byte, so that it can also speak it wrongly. */
export class RawClient {
  readonly #stream: Duplex
  #received: Buffer[] = []
  #ended = false
  #wake: () => void = () => {}

  constructor(stream: Duplex) {
    this.#stream = stream
    stream.on('data', (bytes: Buffer) => {
      // In memory the server's own bytes come over, and it uses them again.
      this.#received.push(Buffer.from(bytes))
      this.#wake()
    })
    const ended = () => {
      this.#ended = true
      this.#wake()
    }
    stream.on('end', ended)
    stream.on('close', ended)
    stream.on('error', ended)
  }

  send(...parts: Buffer[]): void {
    this.#stream.write(Buffer.concat(parts))
  }

  /** Sends no more, and still listens. */
  end(): void {
    this.#stream.end()
  }

  stopReading(): void {
    this.#stream.pause()
  }

  readAgain(): void {
    this.#stream.resume()
  }

  hangUp(): void {
    this.#stream.destroy()
  }

  /** Exactly so many bytes from the server; throws if it hangs up before. */
  async bytes(count: number): Promise<Buffer> {
    const all = await this.#atLeast(count)
    this.#received = [all.subarray(count)]
    return all.subarray(0, count)
  }

  async #atLeast(count: number): Promise<Buffer> {
    for (;;) {
      const all = this.#received.length === 1 ? this.#received[0]! : Buffer.concat(this.#received)
      this.#received = [all]
      if (all.length >= count) return all
      if (this.#ended) throw new Error(`hung up with ${all.length} of ${count} bytes`)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
  }

  /** Everything until the server hangs up. */
  async rest(): Promise<Buffer> {
    while (!this.#ended)
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    return Buffer.concat(this.#received)
  }

  // ---- handshake

  async greet(flags = 3): Promise<void> {
    await this.bytes(18)
    this.send(u32(flags))
  }

  option(code: number, data: Buffer = Buffer.alloc(0)): void {
    this.send(option(code, data))
  }

  async optionReply(): Promise<{ option: number; type: number; data: Buffer }> {
    const head = await this.bytes(20)
    if (head.readBigUInt64BE(0) !== 0x3e889045565a9n) throw new Error('the magic of an option reply')
    return {
      option: head.readUInt32BE(8),
      type: head.readUInt32BE(12),
      data: await this.bytes(head.readUInt32BE(16)),
    }
  }

  /** All replies to one option, the last of them an ACK or an error. */
  async optionReplies(): Promise<{ option: number; type: number; data: Buffer }[]> {
    const all = []
    for (;;) {
      const reply = await this.optionReply()
      all.push(reply)
      if (reply.type === 1 || reply.type >= 0x80000000) return all
    }
  }

  /** Through the handshake, with or without structured replies and base:allocation. */
  async go(name: string, { structured = false, allocation = false } = {}): Promise<void> {
    await this.greet()
    if (structured) {
      this.option(8)
      await this.optionReplies()
    }
    if (allocation) {
      this.option(10, metaRequest(name, 'base:allocation'))
      await this.optionReplies()
    }
    this.option(7, infoRequest(name))
    await this.optionReplies()
  }

  // ---- transmission

  async simple(dataBytes = 0): Promise<{ error: number; cookie: bigint; data: Buffer }> {
    const head = await this.bytes(16)
    if (head.readUInt32BE(0) !== 0x67446698) throw new Error(`the magic of a simple reply: ${head.toString('hex')}`)
    const error = head.readUInt32BE(4)
    const data = await this.bytes(error === 0 ? dataBytes : 0)
    return { error, cookie: head.readBigUInt64BE(8), data }
  }

  async chunk(): Promise<{ flags: number; type: number; cookie: bigint; data: Buffer }> {
    const head = await this.bytes(20)
    if (head.readUInt32BE(0) !== 0x668e33ef) throw new Error(`the magic of a chunk: ${head.toString('hex')}`)
    const data = await this.bytes(head.readUInt32BE(16))
    return { flags: head.readUInt16BE(4), type: head.readUInt16BE(6), cookie: head.readBigUInt64BE(8), data }
  }

  /** The next reply that carries no data of a simple read, whichever kind it is. */
  async reply(): Promise<{ cookie: bigint }> {
    const magic = (await this.#atLeast(4)).readUInt32BE(0)
    return magic === 0x67446698 ? this.simple() : this.chunk()
  }

  /** Sends a request and returns the error of its simple reply. */
  async errorOf(what: RequestFields): Promise<number> {
    this.send(request(what))
    return (await this.simple()).error
  }
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export const option = (code: number, data: Buffer = Buffer.alloc(0)): Buffer =>
  Buffer.concat([Buffer.from('IHAVEOPT'), u32(code), u32(data.length), data])

export const string = (text: string): Buffer => Buffer.concat([u32(Buffer.byteLength(text)), Buffer.from(text)])

export const infoRequest = (name: string, ...wanted: number[]): Buffer =>
  Buffer.concat([string(name), u16(wanted.length), ...wanted.map(u16)])

export const metaRequest = (name: string, ...queries: string[]): Buffer =>
  Buffer.concat([string(name), u32(queries.length), ...queries.map(string)])

export interface RequestFields {
  type: number
  flags?: number
  cookie?: bigint
  offset?: number | bigint
  length?: number
  body?: Buffer
  magic?: number
}

export function request({ type, flags = 0, cookie = 7n, offset = 0, length, body, magic }: RequestFields): Buffer {
  const head = Buffer.alloc(28)
  head.writeUInt32BE(magic ?? 0x25609513, 0)
  head.writeUInt16BE(flags, 4)
  head.writeUInt16BE(type, 6)
  head.writeBigUInt64BE(cookie, 8)
  head.writeBigUInt64BE(BigInt(offset), 16)
  head.writeUInt32BE(length ?? body?.length ?? 0, 24)
  return body ? Buffer.concat([head, body]) : head
}

export interface Served {
  client: RawClient
  connection: NbdConnection
  clock: ManualClock
  /** The server's end. */
  stream: Duplex
}

/** A client and a server that have just met. */
export function meet(exports: ExportTable, log: Log = silentLog): Served {
  const clock = new ManualClock()
  const [near, far] = streamPair()
  const connection = serveNbd(far, exports, { clock, log })
  return { client: new RawClient(near), connection, clock, stream: far }
}

/** The transmission phase at once, as the kernel has it. */
export function meetTransmission(
  backend: BlockBackend,
  features: { structured?: boolean; blockStatus?: boolean } = {},
) {
  const clock = new ManualClock()
  const [near, far] = streamPair()
  const connection = serveTransmission(far, backend, { clock, log: silentLog, ...features })
  return { client: new RawClient(near), connection, clock, stream: far }
}

/** Two ends of one stream in memory; as with sockets, the end of one is the end of the other. */
function streamPair(): [Duplex, Duplex] {
  const [near, far] = duplexPair()
  near.on('close', () => far.destroy())
  far.on('close', () => near.destroy())
  return [near, far]
}

/** Lets everything that is due in the event loop happen. */
export async function settle(rounds = 20): Promise<void> {
  for (let i = 0; i < rounds; i++) await new Promise<void>(resolve => setImmediate(resolve))
}
