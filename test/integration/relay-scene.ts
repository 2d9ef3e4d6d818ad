import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { relay } from '../../src/io/relay.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { type Clock, type Connection, type Random, type Route, silentLog } from '../../src/ports/index.js'
import type { BackendDone } from '../../src/sdc/nbd/backend.js'
import { type NbdConnection, serveNbd } from '../../src/sdc/nbd/index.js'
import { SocketStream } from '../../src/sdc/nbd/socket-stream.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { seededRandom } from '../support/index.js'
import { exportsOf, MemoryBackend } from '../support/memory-backend.js'
import { RawClient, request, u32 } from '../unit/sdc/nbd/raw-client.js'

export const [readCommand, writeCommand, disconnect, flushCommand] = [0, 1, 2, 3]
/** NBD's: of commands, and of its replies. */
export const fua = 1
export const simpleMagic = 0x67446698
export const KiB = 1 << 10
export const MiB = 1 << 20
export const blockBytes = 4096
/** Above all epochs. */
export const clean = 2 ** 32 - 1
export const place = { slice: 3, epoch: 7, mapping: 11, volume: 20, pool: 2, mapVersion: 2 ** 33 + 5 }

export async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(1)
  }
}

/** What a volume has at a place, and an SDS answers: nobody can have it from elsewhere. */
export function bytesAt(offsetBytes: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes)
  for (let at = 0; at < lengthBytes; at += 512) bytes.fill(((offsetBytes + at) / 512) % 251, at, at + 512)
  return bytes
}

/** What clients write to a place: it is nowhere else, nor there before. */
export function newBytesAt(offsetBytes: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes)
  for (let at = 0; at < lengthBytes; at += 512) bytes.fill(u32(0x5eed0000 + (offsetBytes + at) / 512), at, at + 512)
  return bytes
}

/**
 * A backend past which requests may go, to the SDS at the end of `connection`. Like the SDS it looks at what is written, and
 * always reads the same.
 */
export class RoutedBackend extends MemoryBackend {
  connection: Connection<DataFrame> | null = null
  readonly tally = relay.newTally()
  readonly writes = relay.newTally()
  readonly cells = new Uint32Array(8).fill(clean)
  readonly below = new Uint32Array(8).fill(clean)
  readonly notes = relay.newNotes(this.cells, this.below)

  /** Of the routes from now on. */
  epoch = place.epoch
  /** Of the pool. */
  sliceCount = 8
  /** False: routes are for reads alone. */
  takesWrites = true
  /** The writes that came here. */
  readonly written: { offsetBytes: number; bytes: Buffer; fua: boolean }[] = []

  /** Each write that came here has all of what the client has sent. */
  get isWhole(): boolean {
    return this.written.every(({ offsetBytes, bytes }) => bytes.equals(newBytesAt(offsetBytes, bytes.length)))
  }

  override read(offsetBytes: number, target: Buffer, done: BackendDone): void {
    super.read(offsetBytes, target, errno => {
      bytesAt(offsetBytes, target.length).copy(target)
      done(errno)
    })
  }

  override write(offsetBytes: number, pieces: readonly Buffer[], isFua: boolean, done: BackendDone): void {
    this.written.push({ offsetBytes, bytes: Buffer.concat(pieces), fua: isFua })
    super.write(offsetBytes, pieces, isFua, done)
  }

  route(offsetBytes: number): Route | null {
    const { connection, tally: reads, writes, epoch } = this
    const notes = this.takesWrites ? this.notes : null
    return (
      connection && {
        connection,
        chunk: Math.floor(offsetBytes / MiB),
        sliceCount: this.sliceCount,
        chunkCount: this.sizeBytes / MiB,
        reads,
        writes,
        notes,
        ...place,
        epoch,
      }
    )
  }
}

/** A client, its server, and an SDS that answers when the test says so. */
export class Scene {
  /** Requests at the SDS that are not answered yet. */
  readonly asked: DataFrame[] = []
  /** What the SDC has heard of it otherwise. */
  readonly heard: DataFrame[] = []
  readonly backend = new RoutedBackend({ sizeBytes: 8 * MiB })
  /** What the client has asked and not been answered, by cookie. */
  readonly waiting = new Map<bigint, { offset: number; length: number; isWrite: boolean }>()
  client!: RawClient
  served!: NbdConnection
  sds!: Connection<DataFrame>
  toSds!: Connection<DataFrame>
  #cookies = 0n
  #path = ''
  readonly #sockets: net.Socket[] = []

  constructor(readonly structured: boolean) {}

  static async make(t: Test, structured = true, clock: Clock = systemClock): Promise<Scene> {
    const scene = new Scene(structured)
    const { backend } = scene
    backend.calls = []
    const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => {
      scene.sds = connection
      return {
        onMessage: frame => void scene.asked.push({ ...frame, body: [Buffer.concat(frame.body)] }),
        onClose: () => {},
      }
    })
    scene.toSds = tcpLink.connectData(listener.endpoint, {
      onMessage: frame => void scene.heard.push({ ...frame, body: [Buffer.concat(frame.body)] }),
      onClose: () => {},
    })
    const directory = mkdtempSync(join(tmpdir(), 'blockmesh-'))
    scene.#path = join(directory, 'nbd.sock')
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, socket => {
      const stream = SocketStream.over(socket)!
      scene.served = serveNbd(stream, exportsOf(backend), { clock, log: silentLog })
    })
    server.listen(scene.#path)
    await once(server, 'listening')
    await scene.join()
    await until(() => scene.sds !== undefined)
    backend.connection = scene.toSds
    t.teardown(async () => {
      for (const socket of scene.#sockets) socket.destroy()
      server.close()
      scene.toSds.close()
      scene.sds.close()
      await listener.close()
      rmSync(directory, { recursive: true })
    })
    return scene
  }

  /** A new client, which takes the place of the one before. */
  async join(): Promise<void> {
    const socket = net.connect({ path: this.#path, allowHalfOpen: true })
    this.#sockets.push(socket)
    this.client = new RawClient(socket)
    this.waiting.clear()
    await this.client.go('vol1', { structured: this.structured })
  }

  /** How many reads the backend has had. */
  get ownReads(): number {
    return this.backend.calls!.filter(({ verb }) => verb === 'read').length
  }

  ask(offset: number, length = blockBytes, fields: object = {}): bigint {
    const { cookie, bytes } = this.readOf(offset, length, fields)
    this.client.send(bytes)
    return cookie
  }

  /** A read, as it is sent. */
  readOf(offset: number, length = blockBytes, fields: object = {}): { cookie: bigint; bytes: Buffer } {
    const cookie = ++this.#cookies
    this.waiting.set(cookie, { offset, length, isWrite: false })
    return { cookie, bytes: request({ type: readCommand, offset, length, cookie, ...fields }) }
  }

  /** A write, as it is sent. */
  writeOf(offset: number, length = blockBytes, fields: object = {}): { cookie: bigint; bytes: Buffer } {
    const cookie = ++this.#cookies
    this.waiting.set(cookie, { offset, length, isWrite: true })
    const body = newBytesAt(offset, length)
    return { cookie, bytes: request({ type: writeCommand, offset, body, cookie, ...fields }) }
  }

  put(offset: number, length = blockBytes, fields: object = {}): bigint {
    const { cookie, bytes } = this.writeOf(offset, length, fields)
    this.client.send(bytes)
    return cookie
  }

  /** The next answer, whatever it is to: it must be awaited, and right. */
  async next(): Promise<bigint> {
    const head = await this.client.bytes(16)
    const isSimple = head.readUInt32BE(0) === simpleMagic
    const cookie = head.readBigUInt64BE(8)
    const asked = this.waiting.get(cookie)
    if (asked === undefined) throw new Error('an answer that nobody awaits')
    this.waiting.delete(cookie)
    if (isSimple !== (asked.isWrite || !this.structured)) throw new Error('the kind of a reply')
    if (head.readUInt32BE(4) !== (isSimple ? 0 : 0x10001)) throw new Error('an error, or an unusual reply')
    if (asked.isWrite) return cookie
    // A chunk has lengths and the offset in front.
    const data = isSimple
      ? await this.client.bytes(asked.length)
      : (await this.client.bytes(12 + asked.length)).subarray(12)
    if (!data.equals(bytesAt(asked.offset, asked.length))) throw new Error('the bytes of a reply')
    return cookie
  }

  /** Everything is answered, once; by the SDS some of what it has at a time, in an order of chance. */
  async finish(random: Random = seededRandom(1)): Promise<void> {
    const timer = setInterval(() => this.replySome(random), 1)
    while (this.waiting.size > 0) await this.next()
    clearInterval(timer)
    await this.hearNoMore()
  }

  /** Nothing has been answered but what was awaited. */
  async hearNoMore(): Promise<void> {
    // It is the backend's.
    const last = this.ask(7 * MiB, 512, { flags: fua })
    if ((await this.next()) !== last) throw new Error('answered more than once')
  }

  /** Many requests, reads of the first chunks and writes of the others, some of them at a time. */
  async work(count: number, random = seededRandom(7)): Promise<void> {
    const lengths = [512, 4096, 12_288, 65_536, 128 * KiB]
    for (let chunk = 0; chunk < 6; chunk++) this.ask(chunk * MiB)
    await this.finish(random)
    for (let done = 0; done < count; ) {
      for (let some = 1 + random.integer(100); some > 0; some--, done++) {
        const chunk = random.integer(6)
        const length = chunk < 3 && random.integer(20) === 0 ? 300_032 : lengths[random.integer(lengths.length)]!
        const offset = chunk * MiB + 512 * random.integer((MiB - length) / 512 + 1)
        if (chunk < 3) this.ask(offset, length)
        else this.put(offset, length)
      }
      await this.finish(random)
    }
  }

  /** One answer, which must be right; the cookie says to what. */
  async answer(offsetOf: (cookie: bigint) => number, length = blockBytes): Promise<bigint> {
    if (this.structured) {
      const { cookie, data, type, flags } = await this.client.chunk()
      if (type !== 1 || flags !== 1) throw new Error(`a reply of type ${type}, flags ${flags}`)
      this.waiting.delete(cookie)
      if (data.readBigUInt64BE(0) !== BigInt(offsetOf(cookie))) throw new Error('the offset of a reply')
      if (!data.subarray(8).equals(bytesAt(offsetOf(cookie), length))) throw new Error('the bytes of a reply')
      return cookie
    }
    const { cookie, error, data } = await this.client.simple(length)
    this.waiting.delete(cookie)
    if (error !== 0 || !data.equals(bytesAt(offsetOf(cookie), length))) throw new Error('the bytes of a reply')
    return cookie
  }

  /** The first read of a chunk, which opens the way for others. */
  async open(offset: number): Promise<void> {
    this.ask(offset)
    await this.answer(() => offset)
  }

  /** The SDS answers what it has been asked, in the order that is given. */
  reply(frames = this.asked.splice(0), status = 0): void {
    for (const frame of frames)
      this.sds.send(makeReply(frame, status, status === 0 ? this.#dataOf(frame) : [Buffer.from('no')]))
  }

  /** About half of what the SDS has is answered, in an order of chance. */
  replySome(random: Random): void {
    const frames = this.asked.splice(0)
    for (const frame of frames.map(frame => ({ frame, at: random.integer(1 << 20) })).sort((a, b) => a.at - b.at)) {
      if (random.integer(2) === 0) this.reply([frame.frame])
      else this.asked.push(frame.frame)
    }
  }

  /** The SDS has got what the client has sent, and says what the client is to get. */
  #dataOf({ opcode, chunk, offset, length, body }: DataFrame): Buffer[] {
    const at = chunk * MiB + offset
    if (opcode !== opcodes.write) return [bytesAt(at, length)]
    if (!body[0]!.equals(newBytesAt(at, length))) throw new Error('the bytes of a write')
    return []
  }

  /** Whatever has left the SDS before has been heard. */
  async caughtUp(): Promise<void> {
    const heard = this.heard.length
    this.sds.send(makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 }))
    await until(() => this.heard.length > heard)
    const { opcode } = this.heard.pop()!
    if (opcode !== opcodes.ping || this.heard.length !== heard) throw new Error('more was heard than was to be')
  }
}

/** A scene in which the flush file says already what a next process has to know of a write. */
export async function writeScene(t: Test, structured = true): Promise<Scene> {
  const scene = await Scene.make(t, structured)
  scene.backend.cells[place.slice] = place.epoch
  return scene
}
