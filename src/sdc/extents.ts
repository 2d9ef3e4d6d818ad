import { assert } from '../base/assert.js'
import { errorCodeOfWire, errorTable } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import { type StoragePool, sliceOfChunk, type Volume } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import { type DataFrame, makeFrame, opcodes } from '../wire/data.js'
import type { DataPath } from './data-path.js'
import type { DeviceSession, SessionItem } from './device-session.js'
import type { Extent, NbdErrno } from './nbd/index.js'

type ExtentsDone = (errno: NbdErrno | null, extents: Extent[]) => void

/** Chunks asked for at a time: 8 GiB, more than one NBD request can name. */
const chunksMax = 8192
const retryMs = 50
/** How long a primary may take before its place in the map is looked at again. */
const answerMsMax = 2_000

interface ExtentsOwner {
  readonly path: DataPath
  readonly volumeNumber: number
  readonly mappingNumber: number
  readonly poolNumber: number
  readonly isClosed: boolean
}

/**
 * Asks the primaries which chunks of the range are allocated, again and again where a primary changed, until every chunk
 * is answered for. What lies beyond `chunksMax` is cut off: block status may be shorter than asked.
 */
export function queryExtents(
  owner: ExtentsOwner,
  place: { volume: Volume; pool: StoragePool },
  range: { offsetBytes: number; lengthBytes: number; timeoutMs: number | null },
  done: ExtentsDone,
): void {
  new ExtentsQuery(owner, place, range, done).ask()
}

class ExtentsQuery {
  readonly #first: number
  readonly #count: number
  /** By chunk: 0 not answered, 1 hole, 2 allocated. */
  readonly #found: Uint8Array
  readonly #asks = new Set<AllocationAsk>()
  #timer: Timer | null = null
  #over = false
  readonly #deadlineMs: number

  constructor(
    readonly owner: ExtentsOwner,
    readonly place: { volume: Volume; pool: StoragePool },
    readonly range: { offsetBytes: number; lengthBytes: number; timeoutMs: number | null },
    readonly done: ExtentsDone,
  ) {
    const end = Math.ceil((range.offsetBytes + range.lengthBytes) / chunkBytes)
    this.#first = Math.floor(range.offsetBytes / chunkBytes)
    this.#count = Math.min(chunksMax, end - this.#first)
    this.#found = new Uint8Array(this.#count)
    this.#deadlineMs = owner.path.host.clock.nowMs() + (range.timeoutMs ?? Number.POSITIVE_INFINITY)
  }

  ask(): void {
    const { path, isClosed } = this.owner
    if (isClosed || path.host.clock.nowMs() >= this.#deadlineMs) {
      this.#end(isClosed ? 'ESHUTDOWN' : 'EIO')
      return
    }
    for (const deviceId of this.#primariesLeft()) {
      const ask = new AllocationAsk(this, this.#first, this.#count)
      this.#asks.add(ask)
      path.ask(deviceId, ask)
    }
    // Whoever does not answer may not be primary any more by then.
    this.#askAgainIn(this.#asks.size === 0 ? retryMs : answerMsMax)
  }

  /** `frame` null: the connection ended. */
  answered(ask: AllocationAsk, frame: DataFrame | null): void {
    this.#asks.delete(ask)
    if (frame !== null) {
      const code = errorCodeOfWire(frame.status)
      if (frame.status === 0) this.#merge(frame)
      else if (code === 'STALE_EPOCH') this.owner.path.learn(frame)
      else if (!errorTable[code].retry && code !== 'NOT_MAPPED') {
        this.#end(errorTable[code].nbd)
        return
      }
    }
    if (this.#asks.size > 0) return
    if (this.#found.includes(0)) this.#askAgainIn(retryMs)
    else this.#end(null)
  }

  #askAgainIn(delayMs: number): void {
    this.#timer?.cancel()
    this.#timer = this.owner.path.host.clock.setTimer(delayMs, () => {
      this.#takeBack()
      this.ask()
    })
  }

  #takeBack(): void {
    for (const ask of this.#asks) ask.keptBy?.takeBack(ask)
    this.#asks.clear()
  }

  /** Primaries of the chunks that nobody has answered for. */
  #primariesLeft(): Set<DeviceId> {
    const { volume, pool } = this.place
    const primaries = new Set<DeviceId>()
    for (let index = 0; index < this.#count; index++) {
      if (this.#found[index] !== 0) continue
      const record = this.owner.path.recordOf(pool.id, sliceOfChunk(volume, pool, this.#first + index))
      if (record !== undefined) primaries.add(record.primary)
    }
    return primaries
  }

  #merge(frame: DataFrame): void {
    const bytes = Buffer.concat(frame.body)
    const half = Math.ceil(this.#count / 8)
    if (bytes.length !== 2 * half) return
    for (let index = 0; index < this.#count; index++) {
      const bit = 1 << (index & 7)
      if ((bytes[index >> 3]! & bit) === 0) continue
      this.#found[index] = (bytes[half + (index >> 3)]! & bit) === 0 ? 1 : 2
    }
  }

  #end(errno: NbdErrno | null): void {
    assert(!this.#over, 'a query ends once')
    this.#over = true
    this.#timer?.cancel()
    this.#takeBack()
    const { done } = this
    const extents = errno === null ? this.#extents() : []
    this.owner.path.host.clock.endOfTurn(() => done(errno, extents))
  }

  #extents(): Extent[] {
    const { offsetBytes, lengthBytes } = this.range
    const endBytes = Math.min(offsetBytes + lengthBytes, (this.#first + this.#count) * chunkBytes)
    const extents: Extent[] = []
    let last: Extent | undefined
    for (let at = offsetBytes; at < endBytes; ) {
      const chunk = Math.floor(at / chunkBytes)
      const next = Math.min(endBytes, (chunk + 1) * chunkBytes)
      const hole = this.#found[chunk - this.#first] === 1
      if (last?.hole === hole) last.lengthBytes += next - at
      else {
        last = { lengthBytes: next - at, hole }
        extents.push(last)
      }
      at = next
    }
    return extents
  }
}

class AllocationAsk implements SessionItem {
  keptBy: DeviceSession | null = null
  keptNext: SessionItem | null = null
  keptBefore: SessionItem | null = null
  requestId = 0
  readonly hasPayload = false

  constructor(
    readonly query: ExtentsQuery,
    readonly chunk: number,
    readonly length: number,
  ) {}

  frameFor(requestId: number): DataFrame {
    const { owner } = this.query
    return makeFrame({
      opcode: opcodes.allocation,
      requestId,
      mapping: owner.mappingNumber,
      volume: owner.volumeNumber,
      pool: owner.poolNumber,
      chunk: this.chunk,
      length: this.length,
      mapVersion: owner.path.host.map.version,
    })
  }

  onAnswer(frame: DataFrame): void {
    this.query.answered(this, frame)
  }

  /** Asked anew, of whoever is primary then. */
  readonly resend = false
  onDropped(): void {
    this.query.answered(this, null)
  }
}
