import { blockBytes, chunkBytes } from '../../src/base/units.js'
import type { Clock, Tally, WritePass, WritePasses, WritePassOffer } from '../../src/ports/index.js'
import { readPart, writePart } from '../../src/sds/store/block-io.js'
import { type DataFrame, frameFlags, makeCopyFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { releasePieces } from '../../src/wire/payload-memory.js'
import { SimEnd } from './sim-connection.js'
import type { SimTally } from './sim-read-passes.js'

/** Request ids of writes below TypeScript, from here on. */
const idsFrom = 2 ** 31

/** What is below TypeScript on one connection. */
interface Below {
  passes: Map<string, SimWritePass>
  /** Answers that are awaited from it, by request id. */
  awaited: Map<number, (answer: DataFrame | null) => void>
}

/** The passes for writes of one simulated process: what the addon does below TypeScript. */
export class SimWritePasses implements WritePasses {
  readonly #connections = new WeakMap<SimEnd<DataFrame>, Below>()
  #requests = 0
  #writes = 0

  /** `refusedEvery`: of so many writes the disk does not take one, as a kernel may. */
  constructor(
    readonly clock: Clock,
    readonly refusedEvery = Number.POSITIVE_INFINITY,
  ) {}

  isRefused(): boolean {
    return ++this.#writes % this.refusedEvery === 0
  }

  serves(): boolean {
    return true
  }

  give(offer: WritePassOffer): WritePass | null {
    const { connection, peer } = offer
    // Tests have connections of their own, which nothing is read from.
    if (!(connection instanceof SimEnd) || (peer !== null && !(peer.connection instanceof SimEnd))) return null
    const { passes } = this.belowOf(connection as SimEnd<DataFrame>)
    const key = keyOf(offer.request)
    if (passes.has(key)) return null
    const pass = new SimWritePass(this, offer, () => passes.delete(key))
    passes.set(key, pass)
    return pass
  }

  newTally(): SimTally {
    return { ios: 0, bytes: 0, underWay: 0, returned: 0, close: () => {} }
  }

  /** Sends to another copy; hears its answer, or null when none comes any more. */
  ask(to: SimEnd<DataFrame>, frame: DataFrame, answered: (answer: DataFrame | null) => void): void {
    frame.requestId = idsFrom + (++this.#requests % idsFrom)
    this.belowOf(to).awaited.set(frame.requestId, answered)
    to.send(frame)
  }

  belowOf(end: SimEnd<DataFrame>): Below {
    let below = this.#connections.get(end)
    if (below === undefined) {
      const { passes, awaited }: Below = { passes: new Map(), awaited: new Map() }
      below = { passes, awaited }
      this.#connections.set(end, below)
      end.intercepts.push(frame => {
        if ((frame.flags & frameFlags.reply) === 0) return passes.get(keyOf(frame))?.take(frame) ?? false
        const answered = awaited.get(frame.requestId)
        awaited.delete(frame.requestId)
        answered?.(frame)
        return answered !== undefined && frame.status === 0
      })
      end.whenClosed(() => {
        const all = [...awaited.values()]
        awaited.clear()
        this.clock.endOfTurn(() => {
          for (const answered of all) answered(null)
        })
      })
    }
    return below
  }
}

interface Op {
  frame: DataFrame
  isRead: boolean
  isOnDisk: boolean
  isAtPeer: boolean
  hasFailed: boolean
  isOver: boolean
}

class SimWritePass implements WritePass {
  done = 0
  readonly #underWay = new Set<Op>()
  readonly #unfinished: DataFrame[] = []
  #errno: string | null = null
  #isEnding = false
  #hasEnded = false

  constructor(
    readonly owner: SimWritePasses,
    readonly offer: WritePassOffer,
    readonly forget: () => void,
  ) {}

  get #mayRead(): boolean {
    return this.offer.deadlines.every(({ atMs }) => this.owner.clock.nowMs() < atMs)
  }

  get #connection(): SimEnd<DataFrame> {
    return this.offer.connection as SimEnd<DataFrame>
  }

  end(): void {
    if (this.#isEnding) return
    this.#isEnding = true
    this.forget()
    this.#endIfIdle()
  }

  cut(): void {
    for (const op of [...this.#underWay]) {
      if (!op.isAtPeer) continue
      op.hasFailed = true
      this.#settle(op)
    }
  }

  #endIfIdle(): void {
    if (!this.#isEnding || this.#hasEnded || this.#underWay.size > 0) return
    this.#hasEnded = true
    this.owner.clock.endOfTurn(() => this.offer.ended(this.#unfinished, this.#errno))
  }

  /** True: the request is carried out and answered here, or is left unfinished. */
  take(frame: DataFrame): boolean {
    const { disk, chunkAtBytes, peer } = this.offer
    const isRead = frame.opcode === opcodes.read
    if (!isLike(frame, this.offer)) return false
    // As in the addon: whoever decides finds another way, or ends the pass.
    if (!isRead && peer !== null && (peer.connection as SimEnd<DataFrame>).isClosed) return false
    if (isRead && (peer === null || !this.#mayRead)) return false
    if ([...this.#underWay].some(op => !(isRead && op.isRead) && overlap(op.frame, frame))) return false
    const op: Op = { frame, isRead, isOnDisk: true, isAtPeer: false, hasFailed: false, isOver: false }
    this.#underWay.add(op)
    this.#count(op, 'underWay', 1)
    if (isRead) {
      const target = Buffer.alloc(frame.length)
      readPart(disk, chunkAtBytes, frame.offset, target, error => this.#onDisk(op, error, [target]))
      return true
    }
    if (this.owner.isRefused()) this.owner.clock.endOfTurn(() => this.#onDisk(op, 'EAGAIN', []))
    // The addon leaves what is not aligned to TypeScript. Here passes meet more.
    else
      writePart(disk, chunkAtBytes, frame.offset, frame.length, frame.body, false, error => this.#onDisk(op, error, []))
    if (peer !== null) {
      op.isAtPeer = true
      const copy = makeCopyFrame(frame, opcodes.copyWrite, 0, frame.epoch, {
        body: frame.body.map(piece => Buffer.from(piece)),
      })
      copy.mapVersion = peer.mapVersion
      this.owner.ask(peer.connection as SimEnd<DataFrame>, copy, answer => {
        op.isAtPeer = false
        if (answer?.status !== 0) op.hasFailed = true
        this.#settle(op)
      })
    }
    return true
  }

  #onDisk(op: Op, error: string | null, body: Buffer[]): void {
    op.isOnDisk = false
    if (error !== null) op.hasFailed = true
    if (error !== null && error !== 'EAGAIN' && !op.isRead) this.#errno = error
    this.#settle(op, body)
  }

  #settle(op: Op, body: Buffer[] = []): void {
    if (op.isOver || op.isOnDisk || (op.isAtPeer && !op.hasFailed)) return
    op.isOver = true
    this.#underWay.delete(op)
    this.#count(op, 'underWay', -1)
    const { frame, isRead } = op
    const connection = this.#connection
    // What was read is shown only if nobody else can have changed it by now.
    const isStale = isRead && (this.#isEnding || !this.#mayRead)
    if (!op.hasFailed && !isStale) {
      if (!isRead) this.done++
      this.#count(op, 'ios', 1)
      this.#count(op, 'bytes', frame.length)
      if (!connection.isClosed) connection.send(makeReply(frame, 0, body))
      if (!isRead) releasePieces(frame.body)
    } else {
      this.#count(op, 'returned', 1)
      if (!isRead) this.#unfinished.push(frame)
      else if (!connection.isClosed) connection.handlers!.onMessage(frame)
      if (op.hasFailed) this.end()
    }
    this.#endIfIdle()
  }

  #count({ isRead }: Op, what: Exclude<keyof Tally, 'close'>, by: number): void {
    for (const tally of isRead ? this.offer.readTallies : this.offer.tallies) (tally as SimTally)[what] += by
  }
}

const keyOf = ({ volume, chunk }: Pick<DataFrame, 'volume' | 'chunk'>): string => `${volume}/${chunk}`

/** In whole blocks, which is how the disk is written. */
const overlap = (one: DataFrame, other: DataFrame): boolean =>
  firstOf(one) < endOf(other) && firstOf(other) < endOf(one)
const firstOf = ({ offset }: DataFrame): number => offset - (offset % blockBytes)
const endOf = ({ offset, length }: DataFrame): number => Math.ceil((offset + length) / blockBytes) * blockBytes

function isLike(frame: DataFrame, { request, peer }: WritePassOffer): boolean {
  const isRead = frame.opcode === opcodes.read
  const isMeant = peer === null ? frame.opcode === opcodes.copyWrite : isRead || frame.opcode === opcodes.write
  return (
    isMeant &&
    frame.flags === 0 &&
    frame.bodyBytes === (isRead ? 0 : frame.length) &&
    frame.pool === request.pool &&
    frame.slice === request.slice &&
    frame.epoch === request.epoch &&
    frame.mapping === request.mapping &&
    frame.length > 0 &&
    frame.offset + frame.length <= chunkBytes
  )
}
