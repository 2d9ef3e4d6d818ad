import { type ErrorCode, errorTable } from '../base/errors.js'
import { sessionRequestsMax } from '../base/limits.js'
import { MiB } from '../base/units.js'
import type { Connection } from '../ports/index.js'
import { encode } from '../wire/codec.js'
import { type DataFrame, type DataHello, makeReply, opcodes } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { encodeDeltas } from './map-changes.js'
import type { OwnDevice } from './own-device.js'

/** Above these a session's connection is not read any further; below half of them it is again. */
const requestsHigh = (sessionRequestsMax * 3) / 4
const bytesHigh = 64 * MiB
const queuedBytesHigh = 32 * MiB
const drainCheckMs = 10
const noChanges = encode([])

/** A request that waits for the map to catch up. */
export interface ParkedFrame {
  frame: DataFrame
  untilMs: number
}

/** One welcomed session: a client process at one device (design section 5, rule 7). */
export class Session {
  /** In order of arrival; nothing of it is applied once the session has ended. */
  parked: ParkedFrame[] = []
  /** What the last reads brought beyond the bound: not looked at before earlier requests are answered. */
  #backlog: DataFrame[] = []
  #isServing = false
  #unanswered = 0
  #unansweredBytes = 0
  #isPaused = false
  #isEnded = false
  /** The newest version whose changes went out with a refusal. */
  #handedVersion = 0

  constructor(
    readonly context: SdsContext,
    readonly device: OwnDevice,
    readonly connection: Connection<DataFrame>,
    readonly hello: DataHello,
    /** Where a request goes when its turn has come. */
    readonly serve: (session: Session, frame: DataFrame) => void,
  ) {}

  get kind(): DataHello['kind'] {
    return this.hello.kind
  }
  /** Number of the SDC or SDS. */
  get client(): number {
    return this.hello.client
  }
  get isEnded(): boolean {
    return this.#isEnded
  }
  get unansweredNow(): number {
    return this.#unanswered
  }

  /** A request arrived; it will be answered by `answer` or `refuse`, once. */
  received(frame: DataFrame): void {
    if (this.#isFull || this.#backlog.length > 0) this.#backlog.push(frame)
    else this.#take(frame)
    if (this.#isPaused || !this.#isFull) return
    this.#isPaused = true
    this.connection.pause()
  }

  /** What a lane has begun is to be finished and answered as if it had arrived. */
  handedOver(frame: DataFrame): void {
    this.#unanswered++
    this.#unansweredBytes += weightOf(frame)
  }

  get #isFull(): boolean {
    return this.#unanswered >= requestsHigh || this.#unansweredBytes >= bytesHigh
  }

  #take(frame: DataFrame): void {
    this.#unanswered++
    this.#unansweredBytes += weightOf(frame)
    this.serve(this, frame)
  }

  /** `ownsBody`: its memory is released once the answer has left. */
  answer(request: DataFrame, body?: Buffer[], ownsBody = false): void {
    this.#reply(makeReply(request, 0, body), request, ownsBody)
  }

  refuse(request: DataFrame, code: ErrorCode): void {
    const { counters } = this.context
    if (code === 'STALE_EPOCH') counters.refusedStale++
    else counters.refusedOther++
    const body = code === 'STALE_EPOCH' ? this.#changesSince(request) : Buffer.from(errorTable[code].say)
    this.#reply(makeReply(request, errorTable[code].wire, [body]), request)
  }

  /** Closes the connection: nothing that was not admitted yet is ever applied. What holds or awaits a lock goes on. */
  end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.parked = []
    this.#backlog = []
    this.connection.close()
    this.device.callBackLanes(lane => lane.session === this)
    this.context.counters.sessionsEnded++
  }

  /** Takes nothing more from the client; answers still leave. */
  stopReading(): void {
    this.#isPaused = true
    this.parked = []
    this.#backlog = []
    this.connection.pause()
  }

  /**
   * Once for each version: answers arrive in order, so that whoever is refused again has what went with the first refusal.
   * When many slices move, thousands of requests are refused together, and what they lack is long.
   */
  #changesSince(request: DataFrame): Buffer {
    const { ring, view } = this.context
    if (this.#handedVersion >= view.version) return noChanges
    const lacks = ring.since(request.mapVersion)
    if (lacks.length > 0) this.#handedVersion = view.version
    return encodeDeltas(lacks) ?? noChanges
  }

  #reply(reply: DataFrame, request: DataFrame, ownsBody = false): void {
    this.#unanswered--
    this.#unansweredBytes -= weightOf(request)
    if (this.#isEnded) return
    this.connection.send(reply, ownsBody)
    if (this.#isPaused && !this.#isServing) this.#resumeIfDrained()
  }

  #resumeIfDrained(): void {
    if (!this.#isPaused || this.#isEnded || this.context.isStopping) return
    if (this.#unanswered > requestsHigh / 2 || this.#unansweredBytes > bytesHigh / 2) return
    if (this.connection.queuedBytes > queuedBytesHigh) {
      this.context.clock.setTimer(drainCheckMs, () => this.#resumeIfDrained())
      return
    }
    this.#isServing = true
    for (let frame = this.#backlog.shift(); frame !== undefined; frame = this.#backlog.shift()) {
      this.#take(frame)
      if (this.#isFull) break
    }
    this.#isServing = false
    if (this.#backlog.length > 0 || this.#isEnded || !this.#isPaused) return
    this.#isPaused = false
    this.connection.resume()
  }
}

/** Memory that a request or its answer takes. */
const weightOf = (frame: DataFrame): number =>
  frame.opcode === opcodes.read || frame.opcode === opcodes.copyRead ? frame.length : frame.bodyBytes
