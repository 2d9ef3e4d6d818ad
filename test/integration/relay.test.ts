import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { relay } from '../../src/io/relay.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { type Clock, type Connection, type Random, type Route, silentLog } from '../../src/ports/index.js'
import { DataPath } from '../../src/sdc/data-path.js'
import { FlushFile } from '../../src/sdc/flush-file.js'
import type { BackendDone } from '../../src/sdc/nbd/backend.js'
import { type NbdConnection, serveNbd } from '../../src/sdc/nbd/index.js'
import { SocketStream } from '../../src/sdc/nbd/socket-stream.js'
import { VolumeClient } from '../../src/sdc/volume-client.js'
import { encode } from '../../src/wire/codec.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { seededRandom } from '../support/index.js'
import { exportsOf, MemoryBackend } from '../support/memory-backend.js'
import { ManualClock, RawClient, request, settle, u32 } from '../unit/sdc/nbd/raw-client.js'
import { MemoryState, mappingOf, pool, volumeOf, World } from '../unit/sdc/world.js'

const [readCommand, writeCommand, disconnect, flushCommand] = [0, 1, 2, 3]
/** NBD's: of commands, and of its replies. */
const fua = 1
const simpleMagic = 0x67446698
const KiB = 1 << 10
const MiB = 1 << 20
const blockBytes = 4096
/** Above all epochs. */
const clean = 2 ** 32 - 1
const place = { slice: 3, epoch: 7, mapping: 11, volume: 20, pool: 2, mapVersion: 2 ** 33 + 5 }

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(1)
  }
}

/** What a volume has at a place, and an SDS answers: nobody can have it from elsewhere. */
function bytesAt(offsetBytes: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes)
  for (let at = 0; at < lengthBytes; at += 512) bytes.fill(((offsetBytes + at) / 512) % 251, at, at + 512)
  return bytes
}

/** What clients write to a place: it is nowhere else, nor there before. */
function newBytesAt(offsetBytes: number, lengthBytes: number): Buffer {
  const bytes = Buffer.alloc(lengthBytes)
  for (let at = 0; at < lengthBytes; at += 512) bytes.fill(u32(0x5eed0000 + (offsetBytes + at) / 512), at, at + 512)
  return bytes
}

/**
 * A backend past which requests may go, to the SDS at the end of `connection`. Like the SDS it looks at what is written, and
 * always reads the same.
 */
class RoutedBackend extends MemoryBackend {
  connection: Connection<DataFrame> | null = null
  readonly tally = relay.newTally()
  readonly writes = relay.newTally()
  readonly cells = new Uint32Array(8).fill(clean)
  readonly below = new Uint32Array(8).fill(clean)
  readonly notes = relay.newNotes(this.cells, this.below)

  /** Of the routes from now on. */
  epoch = place.epoch
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
    return connection && { connection, chunk: Math.floor(offsetBytes / MiB), reads, writes, notes, ...place, epoch }
  }
}

/** A client, its server, and an SDS that answers when the test says so. */
class Scene {
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

for (const structured of [false, true])
  t.test(
    `reads behind the first one go to the SDS and back, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await Scene.make(t, structured)
      await scene.open(MiB)
      t.equal(scene.ownReads, 1)
      const places = [
        [MiB, 4096],
        [MiB + 512, 512],
        [2 * MiB - 4096, 4096],
        [MiB, MiB],
        [MiB + 8192, 300_032],
      ] as const
      for (const [offset, length] of places) {
        const cookie = scene.ask(offset, length)
        await until(() => scene.asked.length === 1)
        const { requestId, mapVersion, ...frame } = scene.asked[0]!
        t.match(frame, { opcode: opcodes.read, flags: 0, chunk: 1, offset: offset - MiB, length, bodyBytes: 0 })
        t.match({ ...frame, mapVersion }, place)
        t.ok(requestId >= 2 ** 31, 'its ids are none of a session')
        scene.reply()
        t.equal(await scene.answer(() => offset, length), cookie)
      }
      t.equal(scene.ownReads, 1)
      t.match(scene.backend.tally, {
        ios: 5,
        bytes: 4096 + 512 + 4096 + MiB + 300_032,
        underWay: 0,
        returned: 0,
      })
      t.same(scene.heard, [])
    },
  )

t.test('what is no plain read of such a chunk comes to the backend', async t => {
  const scene = await Scene.make(t)
  await scene.open(MiB)
  for (const [offset, length, fields] of [
    [0, 4096, {}],
    [2 * MiB, 4096, {}],
    [2 * MiB - 4096, 8192, {}],
    [MiB, 4096, { flags: 4 }],
  ] as const) {
    const before = scene.ownReads
    scene.ask(offset, length, fields)
    await scene.answer(() => offset, length)
    t.equal(scene.ownReads, before + 1)
    scene.backend.connection = null
  }
  for (const [offset, length] of [
    [MiB + 1, 512],
    [MiB, 511],
    [9 * MiB, 512],
    [MiB, 0],
  ] as const) {
    scene.ask(offset, length)
    t.equal((await scene.client.chunk()).type, 0x8001, 'the server says what is wrong with it')
  }
  t.equal(scene.asked.length, 0)
})

t.test('answers come in any order and pieces, between those of sessions', async t => {
  const scene = await Scene.make(t)
  for (let chunk = 0; chunk < 4; chunk++) await scene.open(chunk * MiB)
  const offsets = new Map<bigint, number>()
  const all = 300
  for (let asked = 0; asked < all; ) {
    for (let i = 0; i < 30; i++, asked++) {
      const offset = ((asked * 37) % 1024) * blockBytes
      offsets.set(scene.ask(offset), offset)
    }
    // A write in between, and reads that follow it.
    scene.client.send(request({ type: writeCommand, offset: 6 * MiB, body: bytesAt(6 * MiB, 70_144), cookie: 0n }))
    const follower = scene.ask(blockBytes)
    offsets.set(follower, blockBytes)
    await until(() => scene.asked.length >= 30)
    const frames = scene.asked.splice(0).sort((a, b) => ((a.requestId * 7919) % 1000) - ((b.requestId * 7919) % 1000))
    for (const frame of frames) {
      scene.sds.send(makeFrame({ opcode: opcodes.write, flags: 1, requestId: asked, body: [Buffer.alloc(asked)] }))
      scene.reply([frame])
    }
    for (let answers = 0; answers < 32; ) {
      if (scene.asked.length > 0) scene.reply()
      const cookie = await nextAnswer(scene, offsets)
      answers++
      if (cookie !== 0n) t.ok(offsets.delete(cookie), 'each is answered once')
    }
  }
  t.equal(offsets.size, 0)
  t.ok(scene.backend.tally.ios >= all)
  await until(() => scene.heard.length >= all)
  t.ok(scene.heard.every(({ body, requestId }) => body[0]!.length === requestId))
})

/** A read's answer, or the write's, which has the cookie 0. */
async function nextAnswer(scene: Scene, offsets: Map<bigint, number>): Promise<bigint> {
  const reply = (await scene.client.reply()) as { cookie: bigint; data: Buffer }
  const isRead = reply.cookie !== 0n
  if (isRead && !reply.data.subarray(8).equals(bytesAt(offsets.get(reply.cookie)!, blockBytes)))
    throw new Error('the bytes of a reply')
  return reply.cookie
}

/** Each of these reads, by cookie, is answered once, with the bytes of its offset. */
async function answersTo(t: Test, scene: Scene, offsets: Map<bigint, number>, length = blockBytes): Promise<void> {
  while (offsets.size > 0) t.ok(offsets.delete(await scene.answer(cookie => offsets.get(cookie)!, length)))
}

t.test('what the SDS refuses, or answers with too little, comes to the backend', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  for (const spoil of [
    (frame: DataFrame) => makeReply(frame, 9, [Buffer.from('an older epoch')]),
    (frame: DataFrame) => makeReply(frame, 0, [Buffer.alloc(512)]),
    (frame: DataFrame) => makeReply(frame, 0),
    (frame: DataFrame) => makeReply({ ...frame, opcode: opcodes.write }, 0, [Buffer.alloc(blockBytes)]),
  ]) {
    const before = scene.ownReads
    scene.ask(blockBytes)
    await until(() => scene.asked.length === 1)
    scene.sds.send(spoil(scene.asked.shift()!))
    await scene.answer(() => blockBytes)
    t.equal(scene.ownReads, before + 1)
    await until(() => scene.heard.length === 1)
    const answer = scene.heard.shift()!
    t.ok(answer.requestId >= 2 ** 31 && answer.flags === 1, 'the session hears what was answered')
  }
  t.match(scene.backend.tally, { ios: 0, returned: 4, underWay: 0 })
})

t.test('an answer that the relay does not await is the session’s, whatever its id', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const cookie = scene.ask(blockBytes)
  await until(() => scene.asked.length === 1)
  const { requestId } = scene.asked[0]!
  for (const other of [2 ** 31, requestId + 1, requestId + 2 ** 20, 2 ** 32 - 1])
    scene.sds.send(makeReply({ ...scene.asked[0]!, requestId: other }, 0, [Buffer.alloc(blockBytes)]))
  scene.reply()
  t.equal(await scene.answer(() => blockBytes), cookie)
  scene.sds.send(makeReply({ ...scene.asked[0]!, requestId }, 0, [Buffer.alloc(blockBytes)]))
  await until(() => scene.heard.length === 5)
  t.equal(scene.ownReads, 1)
})

t.test('what is taken back is answered by the backend, and its late answer by nobody', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 20; i++) offsets.set(scene.ask(i * blockBytes), i * blockBytes)
  await until(() => scene.asked.length === 20)
  relay.takeBackOlder(60_000)
  t.equal(scene.backend.tally.underWay, 20, 'they are not that old')
  // Half of an answer is there.
  scene.reply(scene.asked.splice(0, 1))
  offsets.delete(await scene.answer(cookie => offsets.get(cookie)!))
  relay.takeBackAll()
  t.equal(scene.backend.tally.underWay, 0)
  await answersTo(t, scene, offsets)
  t.equal(scene.ownReads, 20)
  scene.reply()
  const again = scene.ask(0)
  await until(() => scene.asked.length === 1)
  scene.reply()
  t.equal(await scene.answer(() => 0), again, 'a route was given again')
  scene.ask(0)
  await until(() => scene.asked.length === 1)
  relay.takeBackOlder(0)
  await scene.answer(() => 0)
  t.same(scene.heard, [])
})

t.test('an SDS gets no more before it has answered, not of what was taken back either', async t => {
  const awaitedMax = 192
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  const askMany = (count: number) => {
    for (let i = 0; i < count; i++) offsets.set(scene.ask(i * 512, 512), i * 512)
  }
  askMany(200)
  await until(() => scene.asked.length === awaitedMax)
  while (offsets.size > awaitedMax) t.ok(offsets.delete(await scene.answer(cookie => offsets.get(cookie)!, 512)))
  relay.takeBackOlder(0)
  t.equal(scene.backend.tally.underWay, 0)
  await answersTo(t, scene, offsets, 512)
  askMany(50)
  await answersTo(t, scene, offsets, 512)
  t.equal(scene.asked.length, awaitedMax)
  scene.reply(scene.asked.splice(0, 20))
  scene.sds.send(makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 }))
  await until(() => scene.heard.length === 1)
  const before = scene.ownReads
  askMany(25)
  await until(() => scene.asked.length === awaitedMax)
  scene.reply()
  await answersTo(t, scene, offsets, 512)
  t.equal(scene.ownReads, before + 5)
})

t.test('a client whose reads come back is not read while more is in flight than may be', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  const askMany = (count: number) => {
    for (let i = 0; i < count; i++)
      offsets.set(scene.ask((offsets.size % 1024) * 512, 512), (offsets.size % 1024) * 512)
  }
  scene.backend.holding = true
  askMany(400)
  await until(() => scene.asked.length === 192 && scene.backend.held.length === 208)
  relay.takeBackOlder(0)
  await until(() => scene.backend.held.length === 400)
  const ping = makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 })
  // The SDS would take more.
  scene.reply(scene.asked.splice(0, 20))
  scene.sds.send(ping)
  await until(() => scene.heard.length === 1)
  askMany(300)
  // What comes after it is heard.
  scene.sds.send(ping)
  await until(() => scene.heard.length === 2)
  t.equal(scene.backend.held.length, 400, 'nothing of it has been taken')
  t.equal(scene.asked.length, 172)
  t.equal(scene.served.requestsInFlight, 400)
  scene.backend.release()
  const timer = setInterval(() => scene.reply(), 1)
  await answersTo(t, scene, offsets, 512)
  clearInterval(timer)
  t.equal(scene.served.requestsInFlight, 0)
})

t.test('when the connection to the SDS ends, its reads come to the backend', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 20; i++) offsets.set(scene.ask(i * blockBytes), i * blockBytes)
  await until(() => scene.asked.length === 20)
  scene.reply(scene.asked.splice(5, 3))
  await until(() => scene.backend.tally.ios === 3)
  scene.backend.connection = null
  scene.toSds.close(true)
  await answersTo(t, scene, offsets)
  t.equal(scene.ownReads, 18)
})

t.test('a client that says goodbye, or sends no more, gets what it has asked for', async t => {
  for (const leave of [
    (scene: Scene) => scene.client.send(request({ type: disconnect, length: 0 })),
    (scene: Scene) => scene.client.end(),
    (scene: Scene) => void scene.served.close(),
  ]) {
    const scene = await Scene.make(t)
    await scene.open(0)
    const offsets = new Map<bigint, number>()
    for (let i = 0; i < 20; i++) offsets.set(scene.ask(i * blockBytes), i * blockBytes)
    await until(() => scene.asked.length === 20)
    leave(scene)
    await answersTo(t, scene, offsets)
    t.equal((await scene.client.rest()).length, 0)
    scene.client.end()
    await scene.served.closed
    t.equal(scene.served.requestsInFlight, 0)
    scene.reply()
  }
})

t.test('whoever closes a client waits until what was answered below has left', async t => {
  const clock = new ManualClock()
  const scene = await Scene.make(t, true, clock)
  await scene.open(0)
  scene.client.stopReading()
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 4; i++) offsets.set(scene.ask(0, MiB), 0)
  await until(() => scene.asked.length === 4)
  scene.reply()
  await until(() => scene.backend.tally.ios === 4)
  t.equal(scene.served.requestsInFlight, 0)
  const closed = scene.served.close()
  // Longer than it would be waited for if everything had left.
  clock.pass(3_000)
  scene.client.readAgain()
  while (offsets.size > 0) t.ok(offsets.delete(await scene.answer(() => 0, MiB)))
  t.equal((await scene.client.rest()).length, 0)
  scene.client.end()
  await closed
})

t.test('a client that is gone leaves nothing behind', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  for (let i = 0; i < 20; i++) scene.ask(i * blockBytes)
  await until(() => scene.asked.length === 20)
  scene.client.hangUp()
  await scene.served.closed
  t.equal(scene.backend.tally.underWay, 0)
  scene.reply()
  scene.sds.send(makeFrame({ opcode: opcodes.ping, flags: 1, requestId: 1 }))
  await until(() => scene.heard.length === 1)
  t.match(scene.heard, [{ opcode: opcodes.ping }])
})

t.test('a client that does not read is not answered beyond what it may have in flight', async t => {
  const scene = await Scene.make(t)
  await scene.open(0)
  scene.client.stopReading()
  const offsets = new Map<bigint, number>()
  for (let i = 0; i < 100; i++) offsets.set(scene.ask(0, MiB), 0)
  await until(() => scene.asked.length > 0)
  for (let quiet = 0; quiet < 100; quiet++) {
    if (scene.asked.length > 0) quiet = 0
    scene.reply()
    await sleep(1)
  }
  scene.client.readAgain()
  while (offsets.size > 0) {
    scene.reply()
    const next = scene.answer(() => 0, MiB)
    const timer = setInterval(() => scene.reply(), 1)
    t.ok(offsets.delete(await next))
    clearInterval(timer)
  }
})

/** A scene in which the flush file says already what a next process has to know of a write. */
async function writeScene(t: Test, structured = true): Promise<Scene> {
  const scene = await Scene.make(t, structured)
  scene.backend.cells[place.slice] = place.epoch
  return scene
}

for (const structured of [false, true])
  t.test(
    `writes behind what was answered go to the SDS, their answers back, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await writeScene(t, structured)
      const { backend } = scene
      // Either opens the way.
      scene.put(MiB)
      await scene.next()
      await scene.open(2 * MiB)
      t.same([backend.written.length, scene.ownReads], [1, 1])
      const places = [
        [1, 0, 4096],
        [1, 512, 512],
        [1, MiB - 4096, 4096],
        [1, MiB - 128 * KiB, 128 * KiB],
        [2, 8192, 70_144],
      ] as const
      for (const [chunk, offset, length] of places) {
        const cookie = scene.put(chunk * MiB + offset, length)
        await until(() => scene.asked.length === 1)
        const { requestId, mapVersion, body, ...frame } = scene.asked[0]!
        t.match(frame, { opcode: opcodes.write, flags: 0, status: 0, chunk, offset, length, bodyBytes: length })
        t.match({ ...frame, mapVersion }, place)
        t.ok(body[0]!.equals(newBytesAt(chunk * MiB + offset, length)))
        t.ok(requestId >= 2 ** 31, 'its ids are none of a session')
        t.equal(backend.below[place.slice], clean, 'it is not noted before it is done')
        t.equal(backend.writes.underWay, 1)
        scene.reply()
        t.equal(await scene.next(), cookie)
        t.equal(backend.below[place.slice], place.epoch, 'it is noted before the client hears of it')
        backend.below[place.slice] = clean
      }
      await scene.hearNoMore()
      t.equal(backend.written.length, 1)
      const bytes = places.reduce((sum, [, , length]) => sum + length, 0)
      t.match(backend.writes, { ios: 5, bytes, underWay: 0, returned: 0 })
      t.match(backend.tally, { ios: 0, returned: 0 })
      t.ok(
        backend.below.every(epoch => epoch === clean),
        'no other slice is touched',
      )
      t.same(scene.heard, [])
    },
  )

t.test('a note is the oldest epoch since it was last taken', async t => {
  const scene = await writeScene(t)
  await scene.open(0)
  for (const [before, after] of [
    [clean, place.epoch],
    [place.epoch + 1, place.epoch],
    [place.epoch - 1, place.epoch - 1],
  ] as const) {
    scene.backend.below[place.slice] = before
    scene.put(0)
    await until(() => scene.asked.length === 1)
    scene.reply()
    await scene.next()
    t.equal(scene.backend.below[place.slice], after)
  }
})

t.test('a write goes to the SDS only where the flush file says at least as much as it would need', async t => {
  const scene = await Scene.make(t)
  const { backend } = scene
  await scene.open(0)
  for (const [cell, isBelow] of [
    [clean, false],
    [place.epoch, true],
    [place.epoch + 1, false],
    [place.epoch - 1, true],
    [0, true],
    [clean, false],
  ] as const) {
    const before = backend.written.length
    backend.cells[place.slice] = cell
    scene.put(blockBytes)
    await until(() => scene.asked.length > 0 || backend.written.length > before)
    t.same([scene.asked.length, backend.written.length], isBelow ? [1, before] : [0, before + 1], `${cell}`)
    scene.reply()
    await scene.next()
    // Reads need no note.
    scene.ask(blockBytes)
    await until(() => scene.asked.length === 1)
    scene.reply()
    await scene.next()
  }
  t.ok(backend.isWhole)
})

t.test('a write whose note is gone when the SDS answers comes to the backend, which answers it', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  scene.put(blockBytes, 70_144)
  await until(() => scene.asked.length === 1)
  backend.cells[place.slice] = clean
  await scene.caughtUp()
  t.equal(backend.written.length, 0, 'not before')
  scene.reply()
  await scene.next()
  await scene.hearNoMore()
  t.equal(backend.written.length, 1)
  t.ok(backend.isWhole)
  t.equal(backend.below[place.slice], clean)
  t.match(backend.writes, { ios: 0, bytes: 0, underWay: 0, returned: 1 })
  t.same(scene.heard, [], 'the answer was sound')
})

t.test('a write whose note is gone and back, or that has a newer one, is answered', async t => {
  const scene = await writeScene(t)
  await scene.open(0)
  scene.put(blockBytes)
  await until(() => scene.asked.length === 1)
  scene.backend.cells[place.slice] = clean
  await scene.caughtUp()
  scene.backend.cells[place.slice] = place.epoch - 2
  scene.reply()
  await scene.next()
  t.match(scene.backend.writes, { ios: 1, returned: 0 })
})

t.test('what is no plain write of such a chunk comes to the backend', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  for (const offset of [0, 2 * MiB]) await scene.open(offset)
  for (const [offset, length, fields] of [
    [4096, 4096, { flags: fua }],
    [0, 128 * KiB + 512, {}],
    [0, MiB, {}],
    [2 * MiB, 2 * MiB, {}],
    [MiB - 4096, 8192, {}],
    [4 * MiB, 4096, {}],
  ] as const) {
    scene.put(offset, length, fields)
    await scene.next()
    const { offsetBytes, bytes, fua: isFua } = backend.written.at(-1)!
    t.same([offsetBytes, bytes.length, isFua], [offset, length, 'flags' in fields])
  }
  for (const [offset, length] of [
    [1, 512],
    [0, 511],
    [9 * MiB, 512],
    [0, 0],
  ] as const) {
    scene.client.send(request({ type: writeCommand, offset, body: Buffer.alloc(length), cookie: 1n }))
    t.equal((await scene.client.chunk()).type, 0x8001, 'the server says what is wrong with it')
  }
  t.ok(backend.isWhole)
  t.same([backend.written.length, scene.asked.length], [6, 0])
  t.match(backend.writes, { ios: 0, returned: 0, underWay: 0 })
})

t.test('a route without notes takes reads alone', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  backend.takesWrites = false
  await scene.open(0)
  scene.put(0)
  await scene.next()
  scene.ask(blockBytes)
  await until(() => scene.asked.length === 1)
  scene.reply()
  await scene.next()
  t.same([backend.written.length, scene.ownReads], [1, 1])
  // The next answer opens the way for writes, too.
  backend.takesWrites = true
  scene.put(0)
  await scene.next()
  t.equal(backend.written.length, 2)
  scene.put(0)
  await until(() => scene.asked.length === 1)
  scene.reply()
  await scene.next()
  t.equal(backend.written.length, 2)
})

for (const structured of [false, true])
  t.test(
    `requests that come in pieces of any size are whole at the SDS, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await writeScene(t, structured)
      const { backend } = scene
      await scene.open(0)
      await scene.open(MiB)
      const random = seededRandom(3)
      const send = async (bytes: Buffer, pieceBytes: () => number) => {
        for (let at = 0; at < bytes.length; ) {
          const piece = bytes.subarray(at, at + pieceBytes())
          scene.client.send(piece)
          at += piece.length
          // The server reads it before there is more.
          await settle(1)
        }
      }
      await send(scene.writeOf(512, 512).bytes, () => 1)
      for (let cut = 1; cut < 28; cut++) {
        let isFirst = true
        await send(scene.writeOf(cut * 512, 1024).bytes, () => {
          const length = isFirst ? cut : 500
          isFirst = false
          return length
        })
      }
      await until(() => scene.asked.length === 28)
      await scene.finish(random)
      t.match(backend.writes, { ios: 28, bytes: 512 + 27 * 1024, returned: 0 })
      // Many behind each other, with their boundaries anywhere in a piece.
      const many: Buffer[] = []
      for (let i = 0; i < 60; i++) {
        many.push(scene.writeOf(MiB + 8192 * i, [512, 4096, 12_288, 70_144][i % 4]).bytes)
        many.push(scene.readOf(512 * i).bytes)
      }
      const sizes = [1, 3, 27, 28, 29, 511, 540, 5000, 33_333, 100_001]
      const timer = setInterval(() => scene.replySome(random), 1)
      await send(Buffer.concat(many), () => sizes[random.integer(sizes.length)]!)
      clearInterval(timer)
      await scene.finish(random)
      t.match(backend.writes, { ios: 88, underWay: 0, returned: 0 })
      t.match(backend.tally, { ios: 60, underWay: 0, returned: 0 })
      t.same([backend.written.length, scene.heard], [0, []])
    },
  )

for (const structured of [false, true])
  t.test(
    `many reads and writes at a time are each answered once, replies ${structured ? 'structured' : 'simple'}`,
    async t => {
      const scene = await writeScene(t, structured)
      const { backend } = scene
      await scene.work(2000)
      const { tally, writes } = backend
      t.ok(backend.isWhole)
      t.ok(writes.ios > 600 && tally.ios > 600, `${writes.ios} writes and ${tally.ios} reads went past the backend`)
      t.match(
        [tally, writes],
        [
          { underWay: 0, returned: 0 },
          { underWay: 0, returned: 0 },
        ],
      )
      t.same(scene.heard, [])
    },
  )

t.test('an SDS gets no more writes before it has answered', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  for (let i = 0; i < 200; i++) scene.put(i * 512, 512)
  await until(() => scene.asked.length === 192 && backend.written.length === 8)
  await scene.finish()
  t.match(backend.writes, { ios: 192, underWay: 0, returned: 0 })
})

t.test('a write that the SDS refuses, or answers as it should not, comes to the backend whole', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  for (const spoil of [
    (frame: DataFrame) => makeReply(frame, 9, [Buffer.from('an older epoch')]),
    (frame: DataFrame) => makeReply(frame, 9),
    (frame: DataFrame) => makeReply(frame, 0, [Buffer.alloc(512)]),
    (frame: DataFrame) => makeReply({ ...frame, opcode: opcodes.read }, 0),
    (frame: DataFrame) => makeReply({ ...frame, opcode: opcodes.read }, 0, [Buffer.alloc(frame.length)]),
  ]) {
    const before = backend.written.length
    scene.put(blockBytes, 70_144)
    await until(() => scene.asked.length === 1)
    scene.sds.send(spoil(scene.asked.shift()!))
    await scene.next()
    await scene.hearNoMore()
    t.equal(backend.written.length, before + 1)
    await until(() => scene.heard.length === 1)
    const answer = scene.heard.shift()!
    t.ok(answer.requestId >= 2 ** 31 && answer.flags === 1, 'the session hears what was answered')
  }
  t.ok(backend.isWhole)
  t.equal(backend.below[place.slice], clean)
  t.match(backend.writes, { ios: 0, returned: 5, underWay: 0 })
})

t.test('writes that are taken back come to the backend whole, and their late answers to nobody', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  const lengths = [512, 4096, 12_288, 70_144]
  const putMany = async () => {
    const before = scene.asked.length
    for (let i = 0; i < 40; i++) {
      if (i % 4 === 3) scene.ask(i * blockBytes, lengths[(i >> 2) & 3])
      else scene.put(i * blockBytes, lengths[(i >> 2) & 3])
    }
    await until(() => scene.asked.length === before + 40)
  }
  await scene.open(0)
  await putMany()
  relay.takeBackOlder(60_000)
  t.equal(backend.writes.underWay, 30, 'they are not that old')
  scene.reply(scene.asked.splice(0, 4))
  await until(() => backend.writes.ios === 3 && backend.tally.ios === 1)
  relay.takeBackAll()
  t.same([backend.writes.underWay, backend.tally.underWay], [0, 0])
  while (scene.waiting.size > 0) await scene.next()
  t.same([backend.written.length, backend.writes.returned], [27, 27])
  // The answers come late, and in two parts.
  scene.reply(scene.asked.splice(0, 10))
  await scene.caughtUp()
  await putMany()
  relay.takeBackOlder(0)
  while (scene.waiting.size > 0) await scene.next()
  t.same([backend.written.length, backend.writes.returned], [57, 57])
  await scene.hearNoMore()
  scene.reply()
  await scene.caughtUp()
  t.ok(backend.isWhole)
  t.equal(backend.writes.ios, 3)
  // More than there are places for: each is used again.
  await scene.work(1200)
  for (let i = 0; i < 192; i++) scene.put(MiB * (i & 1) + i * 512, 512)
  await until(() => scene.asked.length === 192)
  await scene.finish()
  t.ok(backend.isWhole)
  t.same([backend.writes.underWay, backend.writes.returned], [0, 57])
  t.same(scene.heard, [])
})

t.test('a write that is taken back while its payload comes in is the backend’s when it is there', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  const { bytes } = scene.writeOf(blockBytes, 70_144)
  scene.client.send(bytes.subarray(0, 30_000))
  await until(() => backend.writes.underWay === 1)
  relay.takeBackOlder(0)
  relay.takeBackAll()
  await scene.caughtUp()
  t.same([backend.writes.underWay, backend.written.length, scene.asked.length], [1, 0, 0], 'it is not complete')
  scene.client.send(bytes.subarray(30_000))
  await scene.next()
  await scene.hearNoMore()
  t.same([backend.written.length, scene.asked.length], [1, 0])
  t.ok(backend.isWhole)
  t.match(backend.writes, { ios: 0, underWay: 0, returned: 1 })
  scene.put(0)
  await until(() => scene.asked.length === 1)
  scene.reply()
  await scene.next()
  t.equal(backend.written.length, 1, 'its answer has opened the way again')
})

t.test('a write goes where the way is when its payload is complete', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  backend.holding = true
  // It goes to the backend, and its answer says the way anew.
  scene.ask(0, blockBytes, { flags: fua })
  const { bytes } = scene.writeOf(blockBytes, 70_144)
  scene.client.send(bytes.subarray(0, 30_000))
  await until(() => backend.writes.underWay === 1 && backend.held.length === 1)
  relay.takeBackAll()
  backend.epoch++
  backend.release()
  await scene.next()
  scene.client.send(bytes.subarray(30_000))
  await until(() => scene.asked.length === 1)
  t.equal(scene.asked[0]!.epoch, backend.epoch)
  scene.reply()
  await scene.next()
  t.equal(backend.below[place.slice], backend.epoch)
  t.equal(backend.written.length, 0)
})

/** Writes until an SDS that does not read has more before it than the operating system takes. */
async function stuff(scene: Scene): Promise<void> {
  scene.sds.pause()
  const { backend } = scene
  for (let count = 1; scene.toSds.queuedBytes < MiB; count++) {
    scene.put((count % 8) * 128 * KiB, 128 * KiB)
    await until(() => backend.writes.underWay === count || backend.written.length > 0)
    if (backend.written.length > 0) throw new Error('the system takes all that may be under way')
    await settle(1)
  }
}

t.test('what is taken back before it has left still leaves as it was, whatever comes meanwhile', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  const other = await writeScene(t)
  await scene.open(0)
  await stuff(scene)
  const all = backend.writes.underWay
  relay.takeBackAll()
  while (scene.waiting.size > 0) await scene.next()
  t.equal(backend.written.length, all)
  t.ok(backend.isWhole)
  // It would be in the same memory.
  await other.work(600)
  t.ok(scene.toSds.queuedBytes > 0)
  scene.sds.resume()
  await until(() => scene.asked.length === all)
  // It compares.
  scene.reply()
  await scene.caughtUp()
  t.equal(scene.toSds.queuedBytes, 0)
  await scene.work(600)
  t.same([backend.written.length, backend.writes.underWay], [all, 0])
})

t.test('when the connection to the SDS ends, its writes come to the backend whole', async t => {
  for (const end of [({ toSds }: Scene) => toSds.close(true), ({ sds }: Scene) => sds.close(true)]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    for (let i = 0; i < 20; i++) scene.put(i * 8192, 8192)
    await until(() => scene.asked.length === 20)
    scene.reply(scene.asked.splice(5, 3))
    await until(() => backend.writes.ios === 3)
    const { bytes } = scene.writeOf(512, 70_144)
    scene.client.send(bytes.subarray(0, 5_000))
    await until(() => backend.writes.underWay === 18)
    backend.connection = null
    end(scene)
    await until(() => backend.written.length === 17)
    t.equal(backend.writes.underWay, 1)
    scene.client.send(bytes.subarray(5_000))
    while (scene.waiting.size > 0) await scene.next()
    await scene.hearNoMore()
    t.equal(backend.written.length, 18)
    t.ok(backend.isWhole)
    t.match(backend.writes, { ios: 3, returned: 18, underWay: 0 })
  }
})

t.test('when the connection to the SDS ends before it has taken them, writes come to the backend whole', async t => {
  for (const end of [({ toSds }: Scene) => toSds.close(true), ({ sds }: Scene) => sds.close(true)]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    await stuff(scene)
    const all = backend.writes.underWay
    backend.connection = null
    end(scene)
    while (scene.waiting.size > 0) await scene.next()
    await scene.hearNoMore()
    t.equal(backend.written.length, all)
    t.ok(backend.isWhole)
    t.match(backend.writes, { ios: 0, returned: all, underWay: 0 })
  }
  // Their memory is free again: it would not be enough otherwise.
  const scene = await writeScene(t)
  await scene.open(0)
  for (let i = 0; i < 60; i++) scene.put((i % 8) * 128 * KiB, 128 * KiB)
  await until(() => scene.backend.writes.underWay === 60)
  await scene.finish()
  t.equal(scene.backend.written.length, 0)
})

t.test('a client that goes away in the middle of a write leaves nothing behind, and others go on', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  for (let i = 0; i < 10; i++) scene.put(i * 8192, 8192)
  scene.client.send(scene.writeOf(512, 70_144).bytes.subarray(0, 30_000))
  await until(() => scene.asked.length === 10 && backend.writes.underWay === 11)
  scene.reply(scene.asked.splice(0, 2))
  await until(() => backend.writes.underWay === 9)
  scene.client.hangUp()
  await scene.served.closed
  t.match(backend.writes, { ios: 2, underWay: 0 })
  t.equal(scene.served.requestsInFlight, 0)
  await scene.join()
  // What is answered to him is not taken for an answer to the one who comes.
  await scene.open(0)
  for (let i = 0; i < 10; i++) scene.put(i * 8192, 8192)
  await until(() => scene.asked.length === 18)
  scene.reply(scene.asked.splice(0, 8))
  await scene.caughtUp()
  t.equal(scene.waiting.size, 10)
  await scene.finish()
  await scene.work(1200)
  t.ok(backend.isWhole)
  t.equal(backend.writes.underWay, 0)
})

t.test('the memory of writes that never come in is there for others', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  // More than there is.
  for (let i = 0; i < 70; i++) {
    await scene.join()
    scene.put(0, 512)
    await scene.next()
    scene.client.send(scene.writeOf(0, 128 * KiB).bytes.subarray(0, 1_000))
    await until(() => backend.writes.underWay === 1)
    scene.client.hangUp()
    await scene.served.closed
    t.equal(backend.writes.underWay, 0)
  }
  await scene.join()
  const before = backend.written.length
  await scene.open(0)
  for (let i = 0; i < 60; i++) scene.put((i % 8) * 128 * KiB, 128 * KiB)
  await until(() => backend.writes.underWay === 60)
  await scene.finish()
  t.equal(backend.written.length, before)
})

t.test('a client that goes away with its writes before an SDS that does not read leaves nothing behind', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  await stuff(scene)
  const all = backend.writes.underWay
  scene.client.hangUp()
  await scene.served.closed
  t.equal(backend.writes.underWay, 0)
  scene.sds.resume()
  await until(() => scene.asked.length === all)
  scene.reply()
  await scene.caughtUp()
  await scene.join()
  await scene.work(600)
  t.ok(backend.isWhole)
})

const farewells: [string, (scene: Scene) => void][] = [
  ['says goodbye', ({ client }) => client.send(request({ type: disconnect, length: 0 }))],
  ['sends no more', ({ client }) => client.end()],
  ['is told to go', ({ served }) => void served.close()],
]
for (const [how, leave] of farewells)
  t.test(`a client that ${how} is answered all of its writes before`, async t => {
    for (const answered of [0, 7, 20]) {
      const scene = await writeScene(t)
      const { backend } = scene
      await scene.open(0)
      for (let i = 0; i < 20; i++) scene.put(i * 12_288, 12_288)
      await until(() => scene.asked.length === 20)
      scene.reply(scene.asked.splice(0, answered))
      await until(() => backend.writes.ios === answered)
      leave(scene)
      while (scene.waiting.size > 0) await scene.next()
      t.equal((await scene.client.rest()).length, 0)
      scene.client.end()
      await scene.served.closed
      t.equal(scene.served.requestsInFlight, 0)
      t.equal(backend.written.length, 20 - answered)
      t.ok(backend.isWhole)
      t.match(backend.writes, { ios: answered, underWay: 0 })
      scene.reply()
      await scene.caughtUp()
    }
  })

t.test('a client may say goodbye right behind its last writes', async t => {
  for (const last of [request({ type: disconnect, length: 0 }), null]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    const writes = Array.from({ length: 20 }, (_, i) => scene.writeOf(i * 12_288, 12_288).bytes)
    scene.client.send(...writes, ...(last === null ? [] : [last]))
    if (last === null) scene.client.end()
    while (scene.waiting.size > 0) {
      scene.reply()
      await scene.next()
    }
    t.equal((await scene.client.rest()).length, 0)
    scene.client.end()
    await scene.served.closed
    t.ok(backend.isWhole)
    t.equal(backend.written.length + backend.writes.ios, 20)
    t.equal(backend.writes.underWay, 0)
  }
})

t.test('a write whose end does not come is none, and those before it are answered', async t => {
  for (const leave of [({ client }: Scene) => client.end(), ({ served }: Scene) => void served.close()]) {
    const scene = await writeScene(t)
    const { backend } = scene
    await scene.open(0)
    for (let i = 0; i < 5; i++) scene.put(i * 12_288, 12_288)
    const { cookie, bytes } = scene.writeOf(0, 70_144)
    scene.waiting.delete(cookie)
    scene.client.send(bytes.subarray(0, 40_000))
    await until(() => scene.asked.length === 5 && backend.writes.underWay === 6)
    leave(scene)
    while (scene.waiting.size > 0) await scene.next()
    t.equal((await scene.client.rest()).length, 0)
    scene.client.end()
    await scene.served.closed
    t.equal(backend.written.length, 5)
    t.ok(backend.isWhole)
    t.match(backend.writes, { ios: 0, underWay: 0 })
  }
})

t.test('a client whose writes come back is not read while more is in flight than may be', async t => {
  const scene = await writeScene(t)
  const { backend } = scene
  await scene.open(0)
  backend.holding = true
  for (let i = 0; i < 400; i++) scene.put(i * 512, 512)
  await until(() => scene.asked.length === 192 && backend.held.length === 208)
  relay.takeBackOlder(0)
  await until(() => backend.held.length === 400)
  scene.reply(scene.asked.splice(0, 20))
  await scene.caughtUp()
  for (let i = 0; i < 100; i++) scene.put(i * 512, 512)
  await scene.caughtUp()
  t.same([backend.held.length, scene.asked.length], [400, 172], 'nothing of it has been taken')
  backend.release()
  await scene.finish()
  t.equal(scene.served.requestsInFlight, 0)
  t.ok(backend.isWhole)
})

/** A client, a volume with all that an SDC has around it, and SDSs that answer at once what has not come past it. */
class WholeScene {
  /** What the SDSs have been asked past the SDC, and not answered yet: they do when the test says so. */
  readonly held: (() => void)[] = []
  /** Slices and epochs of each FLUSH that an SDS has been asked. */
  readonly flushes: string[] = []
  readonly volume: VolumeClient
  readonly client: RawClient

  private constructor(volume: VolumeClient, client: RawClient) {
    this.volume = volume
    this.client = client
  }

  static async make(t: Test): Promise<WholeScene> {
    const { map, hello, sliceCount } = await worldOfMap()
    let scene: WholeScene | null = null
    const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => ({
      onMessage: frame => {
        const body = Buffer.concat(frame.body)
        const reply = frame.opcode === opcodes.hello ? [encode({ sdsId: '', mapVersion: 0 })] : []
        const answer = () => connection.send(makeReply(frame, 0, reply))
        if (frame.opcode === opcodes.flush) scene!.flushes.push(`${body.readUInt32BE(0)}:${body.readUInt32BE(4)}`)
        if (frame.requestId >= 2 ** 31) scene!.held.push(answer)
        else answer()
      },
      onClose: () => {},
    }))
    const path = new DataPath({
      clock: systemClock,
      link: tcpLink,
      log: silentLog,
      relay,
      map,
      hello,
      endpointOf: () => listener.endpoint,
      onNoSession: () => {},
      offerDeltas: () => {},
    })
    const volume = volumeOf(31)
    const notes = FlushFile.open({
      clock: systemClock,
      state: new MemoryState(),
      log: silentLog,
      bootId: 'boot-1',
      volumeId: volume.id,
      mapping: 41,
      epochs: new Uint32Array(sliceCount).fill(1),
      isShared: false,
    })
    const backend = new VolumeClient({
      path,
      notes,
      pool,
      volume,
      mapping: mappingOf(41),
      isShared: false,
      ioTimeoutMs: null,
    })
    const directory = mkdtempSync(join(tmpdir(), 'blockmesh-'))
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true }, accepted => {
      serveNbd(SocketStream.over(accepted)!, exportsOf(backend), { clock: systemClock, log: silentLog })
    })
    server.listen(join(directory, 'nbd.sock'))
    await once(server, 'listening')
    const socket = net.connect({ path: join(directory, 'nbd.sock'), allowHalfOpen: true })
    scene = new WholeScene(backend, new RawClient(socket))
    await scene.client.go(volume.name)
    t.teardown(async () => {
      socket.destroy()
      server.close()
      for (const answer of scene!.held) answer()
      await backend.close()
      path.close()
      notes.close()
      await listener.close()
      rmSync(directory, { recursive: true })
    })
    return scene
  }

  /** A write that goes past the SDC, up to the SDS. */
  async writeBelow(offset: number): Promise<void> {
    this.client.send(request({ type: writeCommand, offset, body: newBytesAt(offset, blockBytes) }))
    await until(() => this.held.length === 1)
  }

  /** The FLUSHes that SDSs have been asked for one of the client. */
  async flush(): Promise<string[]> {
    if ((await this.client.errorOf({ type: flushCommand })) !== 0) throw new Error('a FLUSH failed')
    return this.flushes.splice(0)
  }
}

/** A map, as an SDC has it. */
async function worldOfMap(): Promise<Pick<World, 'map' | 'sliceCount' | 'hello'>> {
  const world = await new World().start()
  return { map: world.map, sliceCount: world.sliceCount, hello: () => world.hello() }
}

t.test('a FLUSH covers what was written past the SDC before it', async t => {
  const scene = await WholeScene.make(t)
  const { client, volume, held } = scene
  t.equal(await client.errorOf({ type: writeCommand, offset: 0, body: newBytesAt(0, blockBytes) }), 0)
  t.same(await scene.flush(), ['0:1', '0:1'], 'of both copies')
  t.same(await scene.flush(), [])
  for (let round = 0; round < 3; round++) {
    await scene.writeBelow(blockBytes)
    t.ok(volume.notes.dirty.isClean, 'it is not answered yet')
    t.equal(volume.requestsActive, 1)
    held.pop()!()
    t.equal((await client.simple()).error, 0)
    t.equal(volume.notes.dirty.oldestEpoch(0), 1)
    t.same(await scene.flush(), ['0:1', '0:1'])
    t.ok(volume.notes.dirty.isClean)
  }
  t.same([volume.stats.requests('write'), volume.requestsActive], [4, 0])
})

t.test('a write past the SDC of a slice that rests meanwhile is noted before it is answered', async t => {
  const scene = await WholeScene.make(t)
  const { client, volume, held } = scene
  t.equal(await client.errorOf({ type: writeCommand, offset: 0, body: newBytesAt(0, blockBytes) }), 0)
  await scene.flush()
  await scene.writeBelow(blockBytes)
  volume.notes.settle()
  t.equal(volume.notes.cells[0], clean)
  held.pop()!()
  t.equal((await client.simple()).error, 0)
  t.equal(volume.notes.cells[0], 1)
  t.same(await scene.flush(), ['0:1', '0:1'])
  t.equal(volume.stats.relayed.write.ios, 0, 'it was sent once more')
})

t.test('a volume that is closed waits for the SDS, also for what has come back from it', async t => {
  const scene = await WholeScene.make(t)
  const { client, volume, held } = scene
  t.equal(await client.errorOf({ type: writeCommand, offset: 0, body: newBytesAt(0, blockBytes) }), 0)
  await scene.writeBelow(blockBytes)
  let isClosed = false
  const closed = volume.close().then(() => {
    isClosed = true
  })
  // The client need not wait for it.
  t.not((await client.simple()).error, 0)
  await settle()
  t.equal(isClosed, false, 'the SDS may still carry it out')
  held.pop()!()
  await closed
})
