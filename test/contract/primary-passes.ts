import t, { type Test } from 'tap'
import { KiB, MiB } from '../../src/base/units.js'
import type { Connection, Deadline, Disk, Tally, WritePass } from '../../src/ports/index.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { seededRandom } from '../support/index.js'
import { bytesAt, chunkAtBytes, diskBytes, place, type WritePassesSetUp } from './write-passes.js'

const mapVersion = 2 ** 33 + 9
const mapping = 11

const write = (requestId: number, offset: number, length: number) =>
  makeFrame({
    opcode: opcodes.write,
    requestId,
    ...place,
    mapping,
    offset,
    length,
    body: [bytesAt(offset, length)],
    bodyBytes: length,
  })
const read = (requestId: number, offset: number, length: number) =>
  makeFrame({ opcode: opcodes.read, requestId, ...place, mapping, offset, length })

const copied = (frame: DataFrame): DataFrame => ({ ...frame, body: [Buffer.concat(frame.body)] })

/** A client, a primary with a disk, and another copy that answers when the test says so. */
class Scene {
  readonly answers = new Map<number, DataFrame>()
  /** What came to the primary as messages, from the client and from the other copy. */
  readonly messages: DataFrame[] = []
  readonly heard: DataFrame[] = []
  /** What the other copy was asked. */
  readonly asked: DataFrame[] = []
  client!: Connection<DataFrame>
  primary!: Connection<DataFrame>
  toCopy!: Connection<DataFrame>
  copy!: Connection<DataFrame>
  disk!: Disk
  writes!: Tally
  reads!: Tally
  /** One of those that reads are answered before. */
  deadline!: Deadline
  unfinished: DataFrame[] | null = null
  errno: string | null = null
  react: (message: DataFrame) => void = () => {}

  constructor(readonly setUp: WritePassesSetUp) {}

  static async make(t: Test, setUp: WritePassesSetUp): Promise<Scene> {
    const scene = new Scene(setUp)
    const { disks, link, passes, path, isDirect, until } = setUp
    void disks.open(path, { createBytes: diskBytes, direct: isDirect }).then(disk => {
      scene.disk = disk
    })
    await until(() => scene.disk !== undefined)
    // What was never written is on no disk, and is there at once.
    let isWritten = false
    scene.disk.write(chunkAtBytes, [bytesAt(0, MiB)], () => {
      isWritten = true
    })
    await until(() => isWritten)
    scene.writes = passes.newTally()
    scene.reads = passes.newTally()
    const here = { host: '127.0.0.1', port: 0 }
    const forClients = await link.listenData(here, connection => {
      scene.primary = connection
      return {
        onMessage: message => {
          scene.messages.push(copied(message))
          scene.react(message)
        },
        onClose: () => {},
      }
    })
    const forCopies = await link.listenData(here, connection => {
      scene.copy = connection
      return { onMessage: message => void scene.asked.push(copied(message)), onClose: () => {} }
    })
    scene.client = link.connectData(forClients.endpoint, {
      onMessage: answer => {
        if (scene.answers.has(answer.requestId)) throw new Error(`${answer.requestId} is answered twice`)
        scene.answers.set(answer.requestId, copied(answer))
      },
      onClose: () => {},
    })
    scene.toCopy = link.connectData(forCopies.endpoint, {
      onMessage: message => void scene.heard.push(copied(message)),
      onClose: () => {},
    })
    await until(() => scene.primary !== undefined && scene.copy !== undefined)
    t.teardown(async () => {
      for (const connection of [scene.client, scene.primary, scene.toCopy, scene.copy]) connection.close()
      await forClients.close()
      await forCopies.close()
    })
    return scene
  }

  give(): WritePass {
    this.unfinished = null
    this.deadline = this.setUp.newDeadline()
    const always = this.setUp.newDeadline()
    this.deadline.atMs = always.atMs = Number.POSITIVE_INFINITY
    const { writes, reads, disk, primary, toCopy } = this
    const { passes } = this.setUp
    return passes.give({
      connection: primary,
      request: write(0, 0, 0),
      disk,
      chunkAtBytes,
      tallies: [writes, passes.newTally()],
      readTallies: [reads, passes.newTally()],
      peer: { connection: toCopy, mapVersion },
      deadlines: [always, this.deadline],
      ended: (unfinished, errno) => {
        this.unfinished = unfinished.map(copied)
        this.errno = errno
      },
    })!
  }

  until(predicate: () => boolean): Promise<void> {
    return this.setUp.until(predicate)
  }

  /** The other copy answers what it was asked. */
  async reply(count: number, status = 0): Promise<void> {
    await this.until(() => this.asked.length >= count)
    for (const frame of this.asked.splice(0)) this.copy.send(makeReply(frame, status))
  }

  /** Both of what is on the disk: when nothing of it is under way. */
  async diskHas(offset: number, length: number): Promise<Buffer> {
    const target = Buffer.alloc(length)
    let isRead = false
    this.disk.read(chunkAtBytes + offset, target, error => {
      isRead = error === null
    })
    await this.until(() => isRead)
    return target
  }
}

/** What passes with another copy promise, on whichever implementation. */
export function primaryPassesContract(name: string, setUp: (t: Test) => WritePassesSetUp): void {
  t.test(`${name}: a write is answered when the disk and the other copy have it`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const pass = scene.give()
    for (const [requestId, offset, length] of [
      [1, 0, 4096],
      [2, MiB - 65_536, 65_536],
    ] as const) {
      const sent = write(requestId, offset, length)
      scene.client.send(sent)
      await scene.until(() => scene.asked.length === 1)
      const { body, requestId: id, ...asked } = scene.asked[0]!
      t.match(asked, { opcode: opcodes.copyWrite, ...place, mapping: 0, offset, length, mapVersion, flags: 0 })
      t.ok(id >= 2 ** 31)
      t.ok(body[0]!.equals(bytesAt(offset, length)))
      t.ok((await scene.diskHas(offset, length)).equals(bytesAt(offset, length)))
      t.equal(scene.answers.size, requestId - 1, 'the other copy has not answered')
      await scene.reply(1)
      await scene.until(() => scene.answers.has(requestId))
      const { body: _, ...wanted } = makeReply(sent, 0)
      const { body: __, ...answer } = scene.answers.get(requestId)!
      t.same(answer, wanted)
    }
    t.equal(pass.done, 2)
    t.match(scene.writes, { ios: 2, bytes: 4096 + 65_536, underWay: 0, returned: 0 })
    t.same([scene.messages, scene.heard], [[], []])
  })

  t.test(`${name}: reads see all writes that were answered before them`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const { sectorBytes } = scene.setUp
    const random = seededRandom(8)
    scene.give()
    const chunk = bytesAt(0, MiB)
    for (let round = 0, id = 1; round < 200; round++) {
      const offset = random.integer(MiB / sectorBytes) * sectorBytes
      const length = Math.min(MiB - offset, (1 + random.integer(16)) * sectorBytes)
      const bytes = bytesAt(offset, length, round)
      bytes.copy(chunk, offset)
      // One of the same pages is read meanwhile, so that they are in whatever cache there is.
      const beside = offset >= sectorBytes ? offset - sectorBytes : offset + length
      if (beside < MiB) scene.client.send(read(id++, beside, sectorBytes))
      scene.client.send(makeFrame({ ...write(id, offset, length), body: [bytes] }))
      await scene.reply(1)
      await scene.until(() => scene.answers.has(id))
      const from = Math.max(0, offset - 4 * KiB)
      const wanted = chunk.subarray(from, Math.min(MiB, from + 16 * KiB))
      scene.client.send(read(++id, from, wanted.length))
      await scene.until(() => scene.answers.size === id)
      if (!scene.answers.get(id)!.body[0]!.equals(wanted)) t.fail(`round ${round}`)
      id++
    }
    t.same(scene.messages, [])
    t.ok(scene.reads.ios >= 200)
  })

  t.test(`${name}: what overlaps something under way comes as a message, what does not goes its way`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    scene.client.send(write(1, 0, 8192))
    scene.client.send(write(2, 4096, 8192))
    scene.client.send(read(3, 4096, 4096))
    await scene.until(() => scene.messages.length === 2 && scene.asked.length === 1)
    scene.client.send(write(4, 65_536, 4096))
    await scene.until(() => scene.asked.length === 2)
    t.same(
      scene.messages.map(({ requestId }) => requestId),
      [2, 3],
    )
    t.ok(scene.messages[0]!.body[0]!.equals(bytesAt(4096, 8192)))
    await scene.reply(2)
    await scene.until(() => scene.answers.size === 2)
    scene.client.send(read(5, 0, 8192))
    await scene.until(() => scene.answers.has(5))
    t.ok(scene.answers.get(5)!.body[0]!.equals(bytesAt(0, 8192)))
  })

  t.test(`${name}: nothing overtakes a write of the same bytes, not even one that has not begun`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    for (let id = 1; id <= 8; id++) scene.client.send(write(id, 4096 * id, 4096))
    scene.client.send(write(9, 4096 * 8, 4096))
    await scene.until(() => scene.messages.length === 1)
    t.equal(scene.messages[0]!.requestId, 9, 'the chunk’s owner is asked, who waits for the pass to end')
    for (let replied = 0; replied < 8; ) {
      await scene.until(() => scene.asked.length > 0)
      replied += scene.asked.length
      await scene.reply(1)
    }
    await scene.until(() => scene.answers.size === 8)
    t.equal(scene.messages.length, 1)
  })

  for (const why of ['the pass has ended', 'the time for reads is over'])
    t.test(`${name}: what was read is not shown when ${why} by the time that it is there`, async t => {
      const scene = await Scene.make(t, setUp(t))
      let underWay = 0
      for (let round = 0; round < 50 && underWay === 0; round++) {
        const pass = scene.give()
        scene.messages.length = 0
        scene.answers.clear()
        scene.react = message => {
          if (message.opcode === opcodes.read) return
          underWay = scene.reads.underWay
          if (why === 'the pass has ended') pass.end()
          else scene.deadline.atMs = scene.setUp.clock.nowMs()
        }
        // Large ones, which take a disk a while.
        const all = 8
        for (let id = 0; id < all; id++) scene.client.send(read(id, 128 * KiB * id, 128 * KiB))
        scene.client.send(makeFrame({ opcode: opcodes.flush, requestId: 99 }))
        await scene.until(() => scene.messages.length - 1 + scene.answers.size === all)
        t.ok(scene.messages.length - 1 >= underWay, 'what was under way came to be decided anew')
        pass.end()
        await scene.until(() => scene.unfinished !== null)
        t.same(scene.unfinished, [])
      }
      t.equal(underWay > 0, scene.setUp.readsTakeTime)
      t.equal(scene.reads.underWay, 0)
    })

  t.test(`${name}: the end of a pass waits for the other copy, until it is cut`, async t => {
    const scene = await Scene.make(t, setUp(t))
    const first = scene.give()
    scene.client.send(write(1, 0, 4096))
    await scene.until(() => scene.asked.length === 1)
    first.end()
    await scene.diskHas(0, 4096)
    t.equal(scene.unfinished, null)
    await scene.reply(1)
    await scene.until(() => scene.unfinished !== null && scene.answers.has(1))
    t.same(scene.unfinished, [])

    const second = scene.give()
    scene.client.send(write(2, 0, 4096))
    await scene.until(() => scene.asked.length === 1)
    second.end()
    second.cut()
    await scene.until(() => scene.unfinished !== null)
    const [left, ...more] = scene.unfinished!
    t.match({ ...left, body: undefined }, { ...write(2, 0, 4096), body: undefined })
    t.ok(left!.body[0]!.equals(bytesAt(0, 4096)))
    t.same([more, scene.errno], [[], null])
    t.match(scene.writes, { ios: 1, underWay: 0, returned: 1 })

    scene.give()
    await scene.reply(1)
    for (let id = 3; id < 40; id++) scene.client.send(write(id, 4096 * id, 4096))
    for (let replied = 0; replied < 37; ) {
      await scene.until(() => scene.asked.length > 0)
      replied += scene.asked.length
      await scene.reply(1)
    }
    await scene.until(() => scene.answers.size === 38)
    t.notOk(scene.answers.has(2), 'an answer that comes late is nobody else’s')
  })

  t.test(
    `${name}: a pass that is cut leaves all that was not answered, begun or not, and nothing begins after it`,
    async t => {
      const scene = await Scene.make(t, setUp(t))
      const all = [1, 2, 3, 4, 5, 6, 7, 8]
      const pass = scene.give()
      scene.react = () => {
        pass.end()
        pass.cut()
      }
      for (const id of all) scene.client.send(write(id, 4096 * id, 4096))
      scene.client.send(makeFrame({ opcode: opcodes.flush, requestId: 99 }))
      await scene.until(() => scene.unfinished !== null)
      t.same(scene.unfinished!.map(({ requestId }) => requestId).sort(), all)
      for (const { body, offset } of scene.unfinished!) t.ok(body[0]!.equals(bytesAt(offset, 4096)))
      t.match(scene.writes, { ios: 0, underWay: 0, returned: 8 })
      const again = scene.give()
      scene.client.send(write(9, 0, 4096))
      // What the other copy is asked comes in order.
      await scene.until(() => scene.asked.at(-1)?.offset === 0)
      const begun = scene.asked.length - 1
      t.ok(scene.setUp.goInGroups ? begun < all.length : begun === all.length, `${begun} of ${all.length} had begun`)
      await scene.reply(1)
      await scene.until(() => scene.answers.has(9))
      t.equal(again.done, 1)
      t.same([...scene.answers.keys()], [9])
    },
  )

  t.test(`${name}: what a client has sent that is gone harms nobody else`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    for (let id = 1; id <= 16; id++) scene.client.send(write(id, 4096 * id, 4096))
    scene.client.send(makeFrame({ opcode: opcodes.flush, requestId: 99 }))
    scene.react = () => scene.primary.close(true)
    await scene.until(() => scene.messages.length === 1)
    for (let replied = 0; replied < 16; ) {
      await scene.until(() => scene.asked.length > 0)
      replied += scene.asked.length
      await scene.reply(1)
    }
    await scene.until(() => scene.writes.underWay === 0)
    t.ok((await scene.diskHas(4096, 64 * KiB)).equals(bytesAt(4096, 64 * KiB)))
  })

  t.test(`${name}: a refusal by the other copy ends the pass, and is heard`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    scene.client.send(write(1, 0, 4096))
    await scene.reply(1, 7)
    await scene.until(() => scene.unfinished !== null && scene.heard.length === 1)
    t.equal(scene.heard[0]!.status, 7)
    t.same(
      scene.unfinished!.map(({ requestId }) => requestId),
      [1],
    )
    t.equal(scene.answers.size, 0)
  })

  t.test(`${name}: when the connection to the other copy ends, its writes are handed over`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.give()
    for (let id = 1; id <= 3; id++) scene.client.send(write(id, 4096 * id, 4096))
    await scene.until(() => scene.asked.length === 3)
    scene.toCopy.close(true)
    await scene.until(() => scene.unfinished !== null)
    t.same(scene.unfinished!.map(({ requestId }) => requestId).sort(), [1, 2, 3])
    t.match(scene.writes, { ios: 0, underWay: 0, returned: 3 })
  })

  t.test(`${name}: what a disk answers to a write that it cannot do is told at the end`, async t => {
    const scene = await Scene.make(t, setUp(t))
    scene.setUp.passes.give({
      connection: scene.primary,
      request: write(0, 0, 0),
      disk: scene.disk,
      chunkAtBytes: 2 ** 62,
      tallies: [scene.writes, scene.setUp.passes.newTally()],
      readTallies: [scene.reads, scene.setUp.passes.newTally()],
      peer: { connection: scene.toCopy, mapVersion },
      deadlines: [scene.setUp.newDeadline(), scene.setUp.newDeadline()],
      ended: (_, errno) => {
        scene.errno = errno
      },
    })
    scene.client.send(write(1, 0, 4096))
    await scene.reply(1)
    await scene.until(() => scene.errno !== null)
    t.match(scene.errno, /^E[A-Z]+$/)
  })
}
