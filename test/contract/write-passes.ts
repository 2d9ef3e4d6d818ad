import t, { type Test } from 'tap'
import { KiB, MiB } from '../../src/base/units.js'
import type { Clock, Connection, Deadline, Disk, DiskPort, Link, Tally, WritePasses } from '../../src/ports/index.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'

export interface WritePassesSetUp {
  clock: Clock
  link: Link
  disks: DiskPort
  passes: WritePasses
  newDeadline(): Deadline
  /** Of a disk that is not there yet. */
  path: string
  isDirect: boolean
  /** Other things can happen between the beginning of a read and its end. */
  readsTakeTime: boolean
  /** Some writes wait for others to end at the disk. */
  goInGroups?: boolean
  /** What may be written and read side by side. */
  sectorBytes: number
  until(predicate: () => boolean): Promise<void>
}

export const chunkAtBytes = 2 * MiB
export const diskBytes = 4 * MiB
export const place = { slice: 3, epoch: 7, volume: 20, chunk: 5, pool: 2 }

/** Bytes that tell where they belong. */
export function bytesAt(offset: number, length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at < length; at += 512) bytes.fill(((offset + at) / 512 + seed) % 251, at, at + 512)
  return bytes
}

const write = (requestId: number, offset: number, length: number, fields: Partial<DataFrame> = {}) =>
  makeFrame({
    opcode: opcodes.copyWrite,
    requestId,
    ...place,
    offset,
    length,
    mapVersion: 9,
    ...write.body(offset, length),
    ...fields,
  })
write.body = (offset: number, length: number) => ({ body: [bytesAt(offset, length)], bodyBytes: length })

/** A primary and a copy with a disk. */
class Scene {
  readonly answers = new Map<number, DataFrame>()
  readonly messages: DataFrame[] = []
  copy!: Connection<DataFrame>
  primary!: Connection<DataFrame>
  disk!: Disk
  tally!: Tally
  total!: Tally
  react: (message: DataFrame) => void = () => {}

  constructor(readonly setUp: WritePassesSetUp) {}

  static async make(t: Test, setUp: WritePassesSetUp): Promise<Scene> {
    const scene = new Scene(setUp)
    const { disks, link, passes, path, isDirect, until } = setUp
    let disk: Disk | null = null
    void disks.open(path, { createBytes: diskBytes, direct: isDirect }).then(opened => {
      disk = opened
    })
    await until(() => disk !== null)
    scene.disk = disk!
    await scene.diskHas(0, MiB)
    scene.tally = passes.newTally()
    scene.total = passes.newTally()
    const listener = await link.listenData({ host: '127.0.0.1', port: 0 }, connection => {
      scene.copy = connection
      return {
        onMessage: message => {
          scene.messages.push({ ...message, body: [Buffer.concat(message.body)] })
          scene.react(message)
        },
        onClose: () => {},
      }
    })
    scene.primary = link.connectData(listener.endpoint, {
      onMessage: answer => {
        if (scene.answers.has(answer.requestId)) throw new Error(`${answer.requestId} is answered twice`)
        scene.answers.set(answer.requestId, { ...answer, body: [Buffer.concat(answer.body)] })
      },
      onClose: () => {},
    })
    await until(() => scene.copy !== undefined)
    t.teardown(async () => {
      scene.primary.close()
      scene.copy.close()
      await listener.close()
    })
    return scene
  }

  give({
    atBytes = chunkAtBytes,
    ended = () => {},
  }: Partial<{ atBytes: number; ended: (left: DataFrame[]) => void }> = {}) {
    const { tally, disk, copy: connection } = this
    return this.setUp.passes.give({
      connection,
      request: write(0, 0, 0),
      disk,
      chunkAtBytes: atBytes,
      tallies: [tally, this.total],
      readTallies: [tally, this.total],
      peer: null,
      deadlines: [this.setUp.newDeadline(), this.setUp.newDeadline()],
      ended,
    })
  }

  /** Sends what comes whole as a message, and nothing else, to the one who waits for it. */
  async asMessage(t: Test, frame: DataFrame, why: string): Promise<void> {
    const before = this.messages.length
    this.primary.send(frame)
    await this.setUp.until(() => this.messages.length > before)
    const { body, ...fields } = this.messages.at(-1)!
    t.match(fields, { ...frame, body: undefined }, why)
    t.ok(body[0]!.equals(Buffer.concat(frame.body)), 'with its payload')
    t.notOk(this.answers.has(frame.requestId))
    this.copy.send(makeReply(frame, 1))
    await this.answered(frame.requestId)
  }

  async answered(requestId: number): Promise<DataFrame> {
    await this.setUp.until(() => this.answers.has(requestId))
    return this.answers.get(requestId)!
  }

  async diskHas(offset: number, length: number, atBytes = chunkAtBytes): Promise<Buffer> {
    const target = Buffer.alloc(length)
    let isRead = false
    this.disk.read(atBytes + offset, target, error => {
      isRead = error === null
    })
    await this.setUp.until(() => isRead)
    return target
  }
}

/** What passes for writes promise, on whichever implementation. */
export function writePassesContract(name: string, setUp: (t: Test) => WritePassesSetUp): void {
  t.test(
    `${name}: without a pass every write comes as a message; with one, the disk has it and it is answered`,
    async t => {
      const scene = await Scene.make(t, setUp(t))
      await scene.asMessage(t, write(1, 0, 4096), 'nobody has given a pass')
      const pass = scene.give()!
      t.equal(scene.give(), null, 'one at a time')
      const asked = [
        write(2, 0, 4096),
        write(3, 4096, 65_536),
        write(4, MiB - 8192, 8192),
        write(5, 128 * KiB, 128 * KiB),
      ]
      for (const frame of asked) scene.primary.send(frame)
      for (const frame of asked) {
        const { body, ...fields } = await scene.answered(frame.requestId)
        const { body: _, ...wanted } = makeReply(frame, 0)
        t.same(fields, wanted, 'the answer is the one that TypeScript gives')
        t.ok((await scene.diskHas(frame.offset, frame.length)).equals(bytesAt(frame.offset, frame.length)))
      }
      t.equal(scene.messages.length, 1)
      const lengthBytes = asked.reduce((sum, { length }) => sum + length, 0)
      t.match(scene.tally, { ios: 4, bytes: lengthBytes, underWay: 0, returned: 0 })
      t.equal(pass.done, 4)
      t.equal(scene.total.ios, 4)
    },
  )

  t.test(`${name}: what comes between writes is delivered whole and in order`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    scene.react = message => {
      if (message.opcode === opcodes.copyWrite) scene.copy.send(makeReply(message, 0))
    }
    const sizes = [1, 63, 64, 4096, 70_000, 0, 300_000]
    const ids: number[] = []
    let id = 100
    for (const size of sizes) {
      for (let i = 0; i < 3; i++) {
        ids.push(id)
        scene.primary.send(write(id++, 8192 * i, 8192))
      }
      scene.primary.send(makeFrame({ opcode: opcodes.read, requestId: id++, body: [Buffer.alloc(size, size)] }))
    }
    for (const requestId of ids) await scene.answered(requestId)
    const others = () => scene.messages.filter(({ opcode }) => opcode === opcodes.read)
    await scene.setUp.until(() => others().length === sizes.length)
    for (const [i, { body, bodyBytes }] of others().entries()) {
      t.equal(bodyBytes, sizes[i])
      t.ok(body[0]!.equals(Buffer.alloc(sizes[i]!, sizes[i]!)))
    }
  })

  t.test(
    `${name}: a pass ends when the disk has nothing of it any more; each write is answered once or comes once`,
    async t => {
      const scene = await Scene.make(t, setUp(t))
      const { until } = scene.setUp
      let underWayAtEnd = 0
      let ends = 0
      const ended = (left: DataFrame[]) => {
        ends++
        underWayAtEnd += scene.tally.underWay + left.length
        pass = scene.give({ ended })!
      }
      let pass = scene.give({ ended })!
      const endAndGiveAgain = () => {
        const before = ends
        pass.end()
        if (ends > before) t.fail('not before `end` returns')
      }
      const written = new Map<number, Buffer>()
      scene.react = message => {
        const { offset, length, requestId, body } = message
        t.ok(Buffer.concat(body).equals(bytesAt(offset, length, requestId)))
        scene.disk.write(chunkAtBytes + offset, [Buffer.concat(body)], error => {
          scene.copy.send(makeReply(message, error === null ? 0 : 1))
        })
      }
      const all = 600
      for (let id = 0; id < all; ) {
        for (let i = 0; i < 16 && id < all; i++, id++) {
          const offset = 4096 * (id % 256)
          const bytes = bytesAt(offset, 4096, id)
          written.set(offset, bytes)
          scene.primary.send(write(id, offset, 4096, { body: [bytes] }))
        }
        if (id % 48 === 0) {
          const before = ends
          endAndGiveAgain()
          await until(() => ends > before)
        }
        const sent = id
        await until(() => scene.answers.size === sent)
      }
      t.equal(underWayAtEnd, 0)
      t.equal(scene.tally.ios + scene.messages.length, all)
      t.ok(scene.tally.ios > 0)
      t.ok([...scene.answers.values()].every(({ status }) => status === 0))
      for (const [offset, bytes] of written) t.ok((await scene.diskHas(offset, 4096)).equals(bytes))
    },
  )

  t.test(`${name}: a pass ends by itself when the disk cannot do something, and hands it over`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { until } = scene.setUp
    let unfinished: DataFrame[] | null = null
    scene.give({
      atBytes: 2 ** 52,
      ended: left => {
        unfinished = left.map(frame => ({ ...frame, body: [Buffer.concat(frame.body)] }))
      },
    })
    scene.primary.send(write(1, 0, 8192))
    await until(() => unfinished !== null)
    const { body, ...fields } = unfinished![0]!
    t.match(fields, { ...write(1, 0, 8192), body: undefined })
    t.ok(body[0]!.equals(bytesAt(0, 8192)))
    t.match(scene.tally, { ios: 0, returned: 1, underWay: 0 })
    t.equal(scene.messages.length, 0)
    await scene.asMessage(t, write(2, 0, 4096), 'the pass has ended')
  })

  t.test(`${name}: a connection that ends leaves its writes to the disk, and the pass ends after them`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { until } = scene.setUp
    let hasEnded = false
    const pass = scene.give({
      ended: () => {
        hasEnded = true
      },
    })!
    for (let id = 0; id < 64; id++) scene.primary.send(write(id, 4096 * id, 4096))
    await until(() => scene.answers.size > 0)
    scene.copy.close(true)
    pass.end()
    await until(() => hasEnded)
    t.equal(scene.tally.underWay, 0)
    t.ok(scene.tally.ios >= scene.answers.size)
  })
}
