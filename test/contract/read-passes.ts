import t, { type Test } from 'tap'
import { KiB, MiB } from '../../src/base/units.js'
import type { Clock, Connection, Deadline, Disk, DiskPort, Link, ReadPasses, Tally } from '../../src/ports/index.js'
import { type DataFrame, frameFlags, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { seededRandom } from '../support/index.js'

export interface PassesSetUp {
  clock: Clock
  link: Link
  disks: DiskPort
  passes: ReadPasses
  /** Of a disk that is not there yet. */
  path: string
  isDirect: boolean
  until(predicate: () => boolean): Promise<void>
  /** Lets the other side's messages arrive, without an answer to wait for. */
  pause(): Promise<void>
}

const chunkAtBytes = 2 * MiB
const diskBytes = 4 * MiB
const place = { slice: 3, epoch: 7, mapping: 11, volume: 20, chunk: 5, pool: 2 }
const never = Number.POSITIVE_INFINITY

const read = (requestId: number, offset: number, length: number, fields: Partial<DataFrame> = {}) =>
  makeFrame({ opcode: opcodes.read, requestId, ...place, offset, length, mapVersion: 2 ** 33 + 1, ...fields })

/** A client and a server whose disk holds in each block of the chunk the number of the block. */
class Scene {
  readonly answers = new Map<number, DataFrame>()
  readonly messages: DataFrame[] = []
  server!: Connection<DataFrame>
  client!: Connection<DataFrame>
  disk!: Disk
  tally!: Tally
  react: (message: DataFrame) => void = () => {}

  constructor(readonly setUp: PassesSetUp) {}

  static async make(t: Test, setUp: PassesSetUp): Promise<Scene> {
    const scene = new Scene(setUp)
    const { disks, link, passes, path, isDirect, until } = setUp
    let disk: Disk | null = null
    void disks.open(path, { createBytes: diskBytes, direct: isDirect }).then(opened => {
      disk = opened
    })
    await until(() => disk !== null)
    scene.disk = disk!
    let isWritten = false
    const chunk = Buffer.alloc(MiB)
    for (let at = 0; at < MiB; at += 4 * KiB) chunk.fill(at / (4 * KiB), at, at + 4 * KiB)
    scene.disk.write(chunkAtBytes, [chunk], error => {
      isWritten = error === null
    })
    await until(() => isWritten)
    scene.tally = passes.newTally()
    const listener = await link.listenData({ host: '127.0.0.1', port: 0 }, connection => {
      scene.server = connection
      return {
        onMessage: message => {
          scene.messages.push({ ...message, body: message.body.map(piece => Buffer.from(piece)) })
          scene.react(message)
        },
        onClose: () => {},
      }
    })
    scene.client = scene.connect(listener.endpoint)
    await until(() => scene.server !== undefined)
    t.teardown(async () => {
      scene.client.close()
      scene.server.close()
      await listener.close()
    })
    return scene
  }

  connect(to: Parameters<Link['connectData']>[0]): Connection<DataFrame> {
    return this.setUp.link.connectData(to, {
      onMessage: answer => {
        if (this.answers.has(answer.requestId)) throw new Error(`${answer.requestId} is answered twice`)
        this.answers.set(answer.requestId, { ...answer, body: [Buffer.concat(answer.body)] })
      },
      onClose: () => {},
    })
  }

  give({ untilMs = never, atBytes = chunkAtBytes, chunk = place.chunk } = {}): Deadline {
    const { passes } = this.setUp
    const deadline = passes.newDeadline()
    deadline.atMs = untilMs
    passes.give(this.server, read(0, 0, 0, { chunk }), this.disk, atBytes, [deadline, deadline], this.tally)
    return deadline
  }

  /** Sends what comes as a message, and nothing else, to the one who waits for it. */
  async asMessage(t: Test, frame: DataFrame, why: string): Promise<void> {
    const before = this.messages.length
    this.client.send(frame)
    await this.setUp.until(() => this.messages.length > before)
    const { body, ...fields } = this.messages.at(-1)!
    t.match(fields, { ...frame, body: undefined }, why)
    t.notOk(this.answers.has(frame.requestId))
    this.server.send(makeReply(frame, 1))
    await this.setUp.until(() => this.answers.has(frame.requestId))
    t.equal(this.answers.get(frame.requestId)!.status, 1)
  }

  async answered(requestId: number): Promise<DataFrame> {
    await this.setUp.until(() => this.answers.has(requestId))
    return this.answers.get(requestId)!
  }
}

function isWhatTheDiskHas({ offset, length, body }: DataFrame): boolean {
  const bytes = body[0]!
  if (bytes.length !== length) return false
  for (let at = 0; at < length; at += 512) if (bytes[at] !== ((offset + at) >> 12) % 256) return false
  return true
}

/** What passes promise, on whichever implementation. */
export function readPassesContract(name: string, setUp: (t: Test) => PassesSetUp): void {
  t.test(`${name}: without a pass every read comes as a message; with one, reads are answered by the disk`, async t => {
    const scene = await Scene.make(t, setUp(t))
    await scene.asMessage(t, read(1, 0, 4096), 'nobody has given a pass')
    scene.give()
    const asked = [read(2, 0, 4096), read(3, 4096, 65_536), read(4, MiB - 8192, 8192), read(5, 0, 128 * KiB)]
    for (const frame of asked) scene.client.send(frame)
    for (const frame of asked) {
      const { body, ...fields } = await scene.answered(frame.requestId)
      const { body: _, ...wanted } = makeReply(frame, 0)
      t.same(fields, { ...wanted, bodyBytes: frame.length }, 'the answer is the one that TypeScript gives')
      t.ok(isWhatTheDiskHas({ ...frame, body }))
    }
    t.equal(scene.messages.length, 1)
    const {
      tally,
      setUp: { passes },
    } = scene
    t.match(tally, { ios: 4, bytes: 4096 + 65_536 + 8192 + 128 * KiB, underWay: 0, returned: 0 })
    t.ok(passes.total.ios >= 4)
  })

  t.test(`${name}: a pass is for reads of one chunk in one epoch under one mapping, on one connection`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    let id = 1
    for (const [field, value] of Object.entries(place))
      await scene.asMessage(t, read(id++, 0, 4096, { [field]: value + 1 }), `another ${field}`)
    await scene.asMessage(t, read(id++, 0, 4096, { flags: frameFlags.fua }), 'flags')
    await scene.asMessage(t, read(id++, 0, 4096, { opcode: opcodes.copyRead }), 'another opcode')
    await scene.asMessage(t, read(id++, 0, 4096, { body: [Buffer.from('?')] }), 'a payload')
    await scene.asMessage(t, read(id++, 0, 0), 'nothing to read')
    await scene.asMessage(t, read(id++, MiB - 4096, 8192), 'beyond the chunk')
    await scene.asMessage(t, read(id++, 2 ** 32 - 4096, 8192), 'far beyond the chunk')
    t.equal(scene.tally.ios, 0)
    scene.client.send(read(id, 0, 4096))
    t.equal((await scene.answered(id)).status, 0)
  })

  t.test(`${name}: each of a thousand chunks of a volume keeps its pass, whatever others have`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const chunks = Array.from({ length: 1_000 }, (_, chunk) => chunk)
    for (const chunk of chunks) scene.give({ chunk })
    for (const chunk of chunks) {
      scene.client.send(read(chunk + 1, 0, 4096, { chunk }))
      await scene.answered(chunk + 1)
    }
    t.match([scene.tally.ios, scene.messages.length], [1_000, 0])
  })

  t.test(`${name}: what comes between reads is delivered whole and in order`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    const sizes = [1, 63, 64, 4096, 70_000, 0, 300_000]
    const reads: number[] = []
    let id = 100
    for (const size of sizes) {
      for (let i = 0; i < 3; i++) {
        reads.push(id)
        scene.client.send(read(id++, 4096 * i, 4096))
      }
      scene.client.send(makeFrame({ opcode: opcodes.write, requestId: id++, body: [Buffer.alloc(size, size)] }))
    }
    // What comes behind such a message in one piece comes as a message, too.
    scene.react = message => {
      if (message.opcode === opcodes.read)
        scene.server.send(makeReply(message, 0, [Buffer.alloc(4096, message.offset >> 12)]))
    }
    for (const requestId of reads) {
      const answer = await scene.answered(requestId)
      t.ok(isWhatTheDiskHas(answer), `read ${requestId}`)
    }
    const writes = () => scene.messages.filter(({ opcode }) => opcode === opcodes.write)
    await scene.setUp.until(() => writes().length === sizes.length)
    for (const [i, { body, bodyBytes }] of writes().entries()) {
      t.equal(bodyBytes, sizes[i])
      t.ok(Buffer.concat(body).equals(Buffer.alloc(sizes[i]!, sizes[i]!)))
    }
  })

  t.test(`${name}: void passes answer nothing, and neither do those that have run out`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { passes, clock } = scene.setUp
    scene.give()
    passes.void(place.volume, place.chunk)
    await scene.asMessage(t, read(1, 0, 4096), 'the chunk was void')
    scene.give()
    passes.voidAll()
    await scene.asMessage(t, read(2, 0, 4096), 'all were void')
    scene.give({ untilMs: clock.nowMs() })
    await scene.asMessage(t, read(3, 0, 4096), 'it has run out')
    scene.give({ untilMs: clock.nowMs() + 60_000 })
    scene.client.send(read(4, 0, 4096))
    t.ok(isWhatTheDiskHas(await scene.answered(4)))
    const deadline = scene.give({ untilMs: clock.nowMs() })
    deadline.atMs = never
    scene.client.send(read(5, 0, 4096))
    t.ok(isWhatTheDiskHas(await scene.answered(5)), 'what had run out goes on once its deadline has moved on')
  })

  t.test(`${name}: whatever becomes void while reads are under way, each is answered once or comes once`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { passes, clock, until } = scene.setUp
    scene.react = message => {
      scene.server.send(makeReply(message, 0, [Buffer.alloc(message.length, message.offset >> 12)]))
      scene.give()
    }
    let isOver = false
    const spoil = () => {
      if (isOver) return
      if (scene.tally.underWay > 0) passes.void(place.volume, place.chunk)
      clock.setTimer(1, spoil)
    }
    spoil()
    const all = 600
    for (let id = 0, sent = 0; id < all; ) {
      for (let i = 0; i < 16 && id < all; i++) scene.client.send(read(id++, 4096 * (id % 256), 4096))
      sent = id
      await until(() => scene.answers.size === sent)
    }
    isOver = true
    for (const answer of scene.answers.values()) if (!isWhatTheDiskHas(answer)) t.fail(`${answer.requestId} is wrong`)
    t.equal(scene.tally.ios + scene.messages.length, all)
    t.ok(scene.tally.ios > 0)
    t.equal(scene.tally.underWay, 0)
  })

  t.test(`${name}: reads see what was written or erased before them, whatever is written beside them`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { until } = scene.setUp
    const random = seededRandom(7)
    const chunk = Buffer.alloc(MiB)
    for (let at = 0; at < MiB; at += 4 * KiB) chunk.fill(at / (4 * KiB), at, at + 4 * KiB)
    scene.give()
    let change = () => {}
    scene.react = message => {
      if (message.opcode === opcodes.flush) return change()
      // The page cache may give less than it was asked for while it is written to.
      const target = Buffer.alloc(message.length)
      scene.disk.read(chunkAtBytes + message.offset, target, () => scene.server.send(makeReply(message, 0, [target])))
    }
    let id = 0
    /** Some around it that do not overlap it, and what they have to say. */
    const askBeside = (offset: number, end: number) =>
      [offset - 512, end, offset - 64 * KiB, offset - 256 * KiB, end + random.integer(64) * 512]
        .map((at, index) => ({ at, length: index === 3 ? 256 * KiB : 512 }))
        .filter(({ at, length }) => at >= 0 && at + length <= MiB && (at + length <= offset || at >= end))
        .map(({ at, length }) => ask(at, length))
    const ask = (at: number, length: number) => {
      scene.client.send(read(id, at, length))
      return { requestId: id++, wanted: Buffer.from(chunk.subarray(at, at + length)) }
    }
    for (let round = 0; round < 200; round++) {
      const isErase = random.integer(8) === 0
      const grain = isErase ? 4 * KiB : 512
      const offset = random.integer(MiB / grain) * grain
      const length = Math.min(MiB - offset, (1 + random.integer(random.integer(4) === 0 ? 128 : 8)) * grain)
      let isDone = false
      const done = (error: string | null) => {
        isDone = error === null
      }
      // What overlaps the change may find it or not, but does not hide it from those that come later.
      const around = Math.min(MiB - 480 * KiB, Math.floor(offset / (4 * KiB)) * 4 * KiB)
      const racing = [ask(around, 480 * KiB)]
      const before = askBeside(offset, offset + length)
      change = () => {
        if (isErase) scene.disk.erase(chunkAtBytes + offset, length, done)
        else scene.disk.write(chunkAtBytes + offset, [Buffer.alloc(length, 1 + (round % 255))], done)
      }
      // Comes when those before it are under way.
      scene.client.send(makeFrame({ opcode: opcodes.flush }))
      racing.push(ask(offset, length))
      const beside = askBeside(offset, offset + length)
      await until(() => isDone)
      chunk.fill(isErase ? 0 : 1 + (round % 255), offset, offset + length)
      for (const { requestId } of racing) await scene.answered(requestId)
      const after = [ask(offset, length), ...askBeside(offset, offset + length)]
      for (const { requestId, wanted } of [...before, ...beside, ...after])
        if (!(await scene.answered(requestId)).body[0]!.equals(wanted)) t.fail(`round ${round}, read ${requestId}`)
    }
    const asked = scene.messages.filter(({ opcode }) => opcode === opcodes.read)
    t.equal(scene.tally.ios + asked.length, id)
    t.ok(scene.tally.ios > 0)
  })

  t.test(`${name}: a disk that is closed leaves nothing behind for the next one`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { disks, path, isDirect, until } = scene.setUp
    scene.give()
    for (const id of [1, 2]) {
      scene.client.send(read(id, 8192, 4096))
      t.ok(isWhatTheDiskHas(await scene.answered(id)))
    }
    let next: Disk | null = null
    void scene.disk
      .close()
      .then(() => disks.open(`${path}-2`, { createBytes: diskBytes, direct: isDirect }))
      .then(disk => {
        next = disk
      })
    await until(() => next !== null)
    scene.disk = next!
    scene.give()
    scene.client.send(read(3, 8192, 4096))
    t.ok((await scene.answered(3)).body[0]!.equals(Buffer.alloc(4096)))
  })

  t.test(`${name}: a read that the disk cannot do comes as a message`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give({ atBytes: diskBytes })
    await scene.asMessage(t, read(1, 0, 4096), 'beyond the end of the disk')
    t.match(scene.tally, { ios: 0, returned: 1, underWay: 0 })
  })

  t.test(`${name}: a connection that ends takes its reads with it, and nobody else's`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { pause, until } = scene.setUp
    scene.give()
    for (let id = 0; id < 64; id++) scene.client.send(read(id, 4096 * id, 4096))
    await until(() => scene.answers.size > 0)
    scene.server.close(true)
    await until(() => scene.tally.underWay === 0)
    await pause()
    const other = await Scene.make(t, { ...scene.setUp, path: `${scene.setUp.path}-2` })
    await other.asMessage(t, read(1, 0, 4096), 'the pass was for the connection before')
  })

  t.test(`${name}: who does not take his answers gets them later`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.react = message => scene.server.send(makeReply(message, 0, [Buffer.alloc(message.length)]))
    scene.give()
    scene.client.pause()
    const all = 200
    for (let id = 0; id < all; id++) scene.client.send(read(id, 0, 128 * KiB))
    await scene.setUp.pause()
    t.ok(scene.answers.size < all)
    scene.client.resume()
    await scene.setUp.until(() => scene.answers.size === all)
    t.equal(scene.tally.ios + scene.messages.length, all)
    t.ok(scene.tally.ios > 0)
  })
}
