import { blockBytes, chunkBytes } from '../../src/base/units.js'
import type { Clock } from '../../src/ports/clock.js'
import type { Disk } from '../../src/ports/disk.js'
import type { Deadline, Deadlines, ReadPasses, Tally } from '../../src/ports/index.js'
import { type DataFrame, makeReply, opcodes } from '../../src/wire/data.js'
import { SimEnd } from './sim-connection.js'

interface Pass {
  request: DataFrame
  disk: Disk
  chunkAtBytes: number
  deadlines: Deadlines
  tally: SimTally
  /** What `#voids` and `#allVoids` said when it was given. */
  voids: number
  allVoids: number
}

export type SimTally = { -readonly [Name in keyof Tally]: Tally[Name] }
type Count = Exclude<keyof Tally, 'close'>

const keyOf = ({ volume, chunk }: Pick<DataFrame, 'volume' | 'chunk'>): string => `${volume}/${chunk}`

/** The passes of one simulated process: what the addon does below TypeScript, between a simulated connection and disk. */
export class SimReadPasses implements ReadPasses {
  readonly total: SimTally = this.newTally()
  /** What is simulated has no need of it. */
  readonly fromMemory = this.newTally()
  keepInMemory(): void {}
  readonly #passes = new WeakMap<SimEnd<DataFrame>, Map<string, Pass>>()
  readonly #voids = new Map<string, number>()
  #allVoids = 0

  constructor(readonly clock: Clock) {}

  give: ReadPasses['give'] = (connection, request, disk, chunkAtBytes, deadlines, tally) => {
    // Tests have connections of their own, which nothing is read from.
    if (!(connection instanceof SimEnd)) return
    const end = connection as SimEnd<DataFrame>
    let passes = this.#passes.get(end)
    if (passes === undefined) {
      passes = new Map<string, Pass>()
      this.#passes.set(end, passes)
      end.intercepts.push(frame => this.#take(end, frame))
    }
    const voids = this.#voidsOf(keyOf(request))
    const allVoids = this.#allVoids
    passes.set(keyOf(request), {
      request,
      disk,
      chunkAtBytes,
      deadlines,
      tally: tally as SimTally,
      voids,
      allVoids,
    })
  }

  void(volume: number, chunk: number): void {
    const key = keyOf({ volume, chunk })
    this.#voids.set(key, this.#voidsOf(key) + 1)
  }

  voidAll(): void {
    this.#allVoids++
  }

  newDeadline(): Deadline {
    return { atMs: 0 }
  }

  newTally(): SimTally {
    return { ios: 0, bytes: 0, underWay: 0, returned: 0, close: () => {} }
  }

  #voidsOf(key: string): number {
    return this.#voids.get(key) ?? 0
  }

  #isValid(pass: Pass): boolean {
    const isVoid = pass.allVoids !== this.#allVoids || pass.voids !== this.#voidsOf(keyOf(pass.request))
    return !isVoid && pass.deadlines.every(({ atMs }) => this.clock.nowMs() < atMs)
  }

  /** True: the request is answered here, or comes back later. */
  #take(end: SimEnd<DataFrame>, frame: DataFrame): boolean {
    const pass = this.#passes.get(end)!.get(keyOf(frame))
    if (pass === undefined || !isLike(frame, pass) || !this.#isValid(pass)) return false
    // The addon leaves what is not aligned to TypeScript. Here it is read by way of the blocks around it: passes meet more.
    const first = frame.offset - (frame.offset % blockBytes)
    const target = Buffer.alloc(Math.ceil((frame.offset + frame.length) / blockBytes) * blockBytes - first)
    this.#count(pass, 'underWay', 1)
    pass.disk.read(pass.chunkAtBytes + first, target, error => {
      this.#count(pass, 'underWay', -1)
      if (end.isClosed) return
      if (error !== null || !this.#isValid(pass)) {
        this.#count(pass, 'returned', 1)
        end.handlers!.onMessage(frame)
        return
      }
      this.#count(pass, 'ios', 1)
      this.#count(pass, 'bytes', frame.length)
      end.send(makeReply(frame, 0, [target.subarray(frame.offset - first, frame.offset - first + frame.length)]))
    })
    return true
  }

  #count({ tally }: Pass, what: Count, by: number): void {
    tally[what] += by
    this.total[what] += by
  }
}

function isLike(frame: DataFrame, { request }: Pass): boolean {
  return (
    frame.opcode === opcodes.read &&
    frame.flags === 0 &&
    frame.bodyBytes === 0 &&
    frame.mapping === request.mapping &&
    frame.pool === request.pool &&
    frame.slice === request.slice &&
    frame.epoch === request.epoch &&
    frame.length > 0 &&
    frame.offset + frame.length <= chunkBytes
  )
}
