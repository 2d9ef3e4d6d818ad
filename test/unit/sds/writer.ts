import { assert } from '../../../src/base/assert.js'
import { errorTable } from '../../../src/base/errors.js'
import { numberOfId } from '../../../src/base/ids.js'
import { blockBytes } from '../../../src/base/units.js'
import { type Cluster, sliceCount, TestClient } from './cluster.js'

const blocksPerChunk = 4

/**
 * An application with an SDC: keeps a few writes under way, sends what was not answered again to whoever is primary, and
 * remembers for each block what it must read: the last answered write, or one that was under way after it.
 */
export class Writer {
  readonly #clients = new Map<number, TestClient>()
  /** By block: what was written last, and whether that was answered. */
  readonly #blocks = new Map<number, { last: number; isAnswered: boolean }>()
  #sequence = 0
  #underWay = 0
  #isStopped = false
  answered = 0
  failed: number[] = []

  constructor(
    readonly cluster: Cluster,
    readonly chunks: number[],
    readonly depth = 6,
  ) {
    for (let i = 0; i < depth; i++) void this.#next()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.cluster.until(() => this.#underWay === 0)
    for (const client of this.#clients.values()) client.close()
    this.#clients.clear()
  }

  /** Blocks whose bytes are not those of the last answered write. */
  async wrongBlocks(): Promise<number[]> {
    const wrong: number[] = []
    for (const [block, { last, isAnswered }] of this.#blocks) {
      assert(isAnswered, 'all writes are answered before the blocks are read')
      const [chunk, offset] = placeOf(block)
      const client = await this.cluster.clock.finish(this.#clientOf(chunk))
      const data = await client!.read(chunk, offset, blockBytes)
      if (!data.equals(contentOf(last))) wrong.push(block)
    }
    return wrong
  }

  async #next(): Promise<void> {
    if (this.#isStopped) return
    const { random } = this.cluster.world
    const chunk = this.chunks[random.integer(this.chunks.length)]!
    const block = chunk * blocksPerChunk + random.integer(blocksPerChunk)
    const have = this.#blocks.get(block)
    if (have !== undefined && !have.isAnswered) {
      this.cluster.clock.setTimer(1, () => void this.#next())
      return
    }
    const mine = { last: ++this.#sequence, isAnswered: false }
    this.#blocks.set(block, mine)
    this.#underWay++
    await this.#write(block, mine.last)
    mine.isAnswered = true
    this.#underWay--
    this.answered++
    void this.#next()
  }

  async #write(block: number, sequence: number): Promise<void> {
    const [chunk, offset] = placeOf(block)
    for (;;) {
      const client = await this.#clientOf(chunk)
      const reply =
        client === null ? null : await Promise.race([client.write(chunk, offset, contentOf(sequence)), client.closed])
      if (reply?.status === 0) return
      const isRetried = reply === null || retried.includes(reply.status)
      if (!isRetried) {
        this.failed.push(reply.status)
        return
      }
      await this.#pause()
    }
  }

  /** The session with the primary of a chunk's slice, a new one if the last is over; null: not now. */
  async #clientOf(chunk: number): Promise<TestClient | null> {
    const n = numberOfId(this.cluster.record((1 + chunk) % sliceCount).primary) - 200
    const have = this.#clients.get(n)
    if (have !== undefined && have.closedBecause === null) return have.isWelcome ? have : null
    const fresh = new TestClient(this.cluster, n, {})
    this.#clients.set(n, fresh)
    const status = await Promise.race([fresh.greet(), fresh.closed.then(() => -1)])
    if (status === 0) return fresh
    fresh.close()
    fresh.closedBecause ??= `refused with ${status}`
    return null
  }

  #pause(): Promise<void> {
    return new Promise(resolve => this.cluster.clock.setTimer(20, resolve))
  }
}

const placeOf = (block: number): [number, number] => [
  Math.floor(block / blocksPerChunk),
  (block % blocksPerChunk) * 64 * blockBytes,
]

function contentOf(sequence: number): Buffer {
  const content = Buffer.alloc(blockBytes, sequence & 0xff)
  content.writeUInt32BE(sequence)
  return content
}

/** What an SDC sends again. */
const retried: number[] = (['STALE_EPOCH', 'NOT_READY', 'NO_SESSION'] as const).map(code => errorTable[code].wire)
