import { assert } from '../base/assert.js'
import { errorTable, type StorageError } from '../base/errors.js'
import { type MappingId, numberOfId, type PoolId } from '../base/ids.js'
import { chunkBytes } from '../base/units.js'
import { effectiveLimits } from '../core/qos/index.js'
import { isAllZero, partBytesAt, partsInFlightMax, slicePieces } from '../core/sdc/index.js'
import { type Mapping, type StoragePool, sliceOfChunk, type Volume } from '../model/index.js'
import type { RelayNotes, Route } from '../ports/index.js'
import { type DataFrame, frameFlags, opcodes } from '../wire/data.js'
import { ActiveList } from './active-list.js'
import type { DataPath } from './data-path.js'
import { queryExtents } from './extents.js'
import type { FlushFile } from './flush-file.js'
import { Flusher } from './flusher.js'
import { type IoKind, IoPart, IoRequest, noBody, type PartOwner } from './io-request.js'
import type { BackendDone, BlockBackend, Extent, NbdErrno } from './nbd/index.js'
import { ThrottleGate } from './throttle-gate.js'
import { VolumeStats } from './volume-stats.js'

export interface VolumeClientOptions {
  path: DataPath
  notes: FlushFile
  volume: Volume
  pool: StoragePool
  mapping: Mapping
  isShared: boolean
  /** null: requests wait for ever. */
  ioTimeoutMs: number | null
}

/** How often a closed volume looks whether the SDSs have answered what they were sent below TypeScript. */
const pollMs = 5

/** The objects of the map that a mapping depends on, as they are now. */
export type MappedVolume = Pick<VolumeClientOptions, 'volume' | 'pool' | 'mapping' | 'isShared'>

/**
 * One mapped volume as the NBD engine sees it: cuts requests at chunk boundaries, throttles them, and answers when all
 * parts are answered. Requests and parts are pooled; nothing is allocated for a request but its frames.
 */
export class VolumeClient implements BlockBackend, PartOwner {
  readonly path: DataPath
  readonly notes: FlushFile
  readonly poolId: PoolId
  readonly mappingId: MappingId
  readonly poolNumber: number
  readonly volumeNumber: number
  readonly mappingNumber: number
  readonly stats: VolumeStats
  readonly flusher: Flusher
  readonly #relayNotes: RelayNotes
  readonly #gate: ThrottleGate
  readonly #active: ActiveList
  readonly #freeRequests: IoRequest[] = []
  readonly #freeParts: IoPart[] = []
  readonly #ioTimeoutMs: number | null
  #mapped: MappedVolume
  #closed = false
  #closing: Promise<void> | null = null
  #onIdle: (() => void)[] = []

  constructor(options: VolumeClientOptions) {
    this.path = options.path
    this.notes = options.notes
    this.#mapped = options
    this.#ioTimeoutMs = options.ioTimeoutMs
    this.poolId = options.pool.id
    this.mappingId = options.mapping.id
    this.poolNumber = numberOfId(options.pool.id)
    this.volumeNumber = numberOfId(options.volume.id)
    this.mappingNumber = numberOfId(options.mapping.id)
    const { clock, relay } = options.path.host
    this.stats = new VolumeStats({ read: relay.newTally(), write: relay.newTally() })
    this.#relayNotes = relay.newNotes(this.notes.cells, this.notes.dirty.below)
    this.#gate = new ThrottleGate(clock, limitsOf(options), request => this.#passed(request))
    this.#active = new ActiveList(clock, options.ioTimeoutMs, request => this.#timeOut(request))
    this.flusher = new Flusher(this)
  }

  get volume(): Volume {
    return this.#mapped.volume
  }
  get name(): string {
    return this.#mapped.volume.name
  }
  get sizeBytes(): number {
    return this.#mapped.volume.sizeBytes
  }
  get readOnly(): boolean {
    return this.#mapped.mapping.accessMode === 'ReadOnly'
  }
  get description(): string {
    return `Blockmesh volume ${this.name} (${this.volume.id})`
  }
  get isShared(): boolean {
    return this.#mapped.isShared
  }
  get isClosed(): boolean {
    return this.#closed
  }
  get requestsActive(): number {
    const { read, write } = this.stats.relayed
    return this.#active.size + read.underWay + write.underWay
  }
  get requestsThrottled(): number {
    return this.#gate.queueLength
  }

  // ---- what the application asks

  read(offsetBytes: number, target: Buffer, done: BackendDone): void {
    const request = this.#request('read', offsetBytes, target.length, done)
    request.target = target
    request.costBytes = target.length
    this.#admit(request)
  }

  route(offsetBytes: number): Route | null {
    if (this.#closed || !this.#gate.isOpen) return null
    const { volume, pool } = this.#mapped
    const chunk = Math.floor(offsetBytes / chunkBytes)
    const slice = sliceOfChunk(volume, pool, chunk)
    const way = this.path.wayTo(this.poolId, slice)
    if (way === null) return null
    // Without a note nothing may be left unflushed.
    const takesWrites = !this.readOnly && this.notes.usable
    if (takesWrites) this.notes.dirty.mayBeNotedBelow(slice)
    return {
      connection: way.connection,
      epoch: way.epoch,
      slice,
      chunk,
      sliceCount: pool.sliceCount,
      chunkCount: volume.sizeBytes / chunkBytes,
      pool: this.poolNumber,
      mapping: this.mappingNumber,
      volume: this.volumeNumber,
      mapVersion: this.path.host.map.version,
      reads: this.stats.relayed.read,
      writes: this.stats.relayed.write,
      notes: takesWrites ? this.#relayNotes : null,
    }
  }

  write(offsetBytes: number, pieces: readonly Buffer[], fua: boolean, done: BackendDone): void {
    let lengthBytes = 0
    for (const piece of pieces) lengthBytes += piece.length
    const request = this.#request('write', offsetBytes, lengthBytes, done)
    request.pieces = pieces
    request.fua = fua
    request.costBytes = lengthBytes
    this.#admit(request)
  }

  trim(offsetBytes: number, lengthBytes: number, fua: boolean, done: BackendDone): void {
    const request = this.#request('trim', offsetBytes, lengthBytes, done)
    request.fua = fua
    this.#admit(request)
  }

  zero(offsetBytes: number, lengthBytes: number, mayPunch: boolean, fua: boolean, done: BackendDone): void {
    const request = this.#request('zero', offsetBytes, lengthBytes, done)
    request.mayPunch = mayPunch
    request.fua = fua
    this.#admit(request)
  }

  flush(done: BackendDone): void {
    const request = this.#request('flush', 0, 0, done)
    if (this.#refuse(request)) return
    // Who may not write has nothing to flush.
    if (this.readOnly) this.#answerLater(request)
    else this.#flush(request)
  }

  #flush(request: IoRequest): void {
    this.flusher.flush(outcome => {
      if (request.done === null) return
      request.errno = outcome === 'done' ? null : 'EIO'
      this.#answer(request)
    })
  }

  extents(offsetBytes: number, lengthBytes: number, done: (errno: NbdErrno | null, extents: Extent[]) => void): void {
    queryExtents(this, this.#mapped, { offsetBytes, lengthBytes, timeoutMs: this.#ioTimeoutMs }, done)
  }

  // ---- what the map says

  /** Size, name and limits of the volume as they are from now on. */
  update(mapped: MappedVolume): void {
    assert(mapped.mapping.id === this.mappingId, 'a volume client serves one mapping')
    this.#mapped = mapped
    this.#gate.setLimits(limitsOf(mapped))
  }

  onMapChange(): void {
    this.flusher.onMapChange()
  }

  /**
   * Stops: nothing is sent any more. Resolves when nothing that was sent is under way at an SDS, as far as the
   * connections tell.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { relay, clock } = this.path.host
    this.#closed = true
    this.flusher.close()
    relay.takeBackAll()
    for (const request of this.#gate.close()) this.#fail(request, 'ESHUTDOWN')
    this.path.forEachRouted((item, sent) => {
      if (sent || !(item instanceof IoPart) || item.owner !== this) return
      this.path.takeBack(item)
      this.#partDone(item, 'ESHUTDOWN')
    })
    await this.whenIdle()
    while (this.#relayNotes.unanswered > 0) await new Promise<void>(resolve => clock.setTimer(pollMs, resolve))
    this.#relayNotes.close()
    this.stats.relayed.read.close()
    this.stats.relayed.write.close()
  }

  /** Resolves when no request is under way. */
  whenIdle(): Promise<void> {
    if (this.#active.size === 0) return Promise.resolve()
    return new Promise(resolve => this.#onIdle.push(resolve))
  }

  // ---- the life of a request

  #request(kind: IoKind, offsetBytes: number, lengthBytes: number, done: BackendDone): IoRequest {
    const request = this.#freeRequests.pop() ?? new IoRequest()
    request.kind = kind
    request.fua = false
    request.mayPunch = true
    request.startBytes = offsetBytes
    request.nextBytes = offsetBytes
    request.endBytes = offsetBytes + lengthBytes
    request.costBytes = 0
    request.errno = null
    request.done = done
    this.stats.count(kind, lengthBytes)
    this.#active.add(request)
    return request
  }

  #refuse(request: IoRequest): boolean {
    if (this.#closed) request.errno = 'ESHUTDOWN'
    else if (this.readOnly && request.kind !== 'read' && request.kind !== 'flush') request.errno = 'EPERM'
    else return false
    this.#answerLater(request)
    return true
  }

  #admit(request: IoRequest): void {
    if (this.#refuse(request)) return
    if (this.#gate.admit(request)) this.#sendParts(request)
    else this.stats.throttled++
  }

  /** Its turn at the throttle has come. */
  #passed(request: IoRequest): void {
    // It may have timed out while it waited.
    if (request.done === null) this.#freeRequests.push(request)
    else this.#sendParts(request)
  }

  /** Sends what may be under way; the rest of a long request follows as parts are answered. */
  #sendParts(request: IoRequest): void {
    while (request.nextBytes < request.endBytes && request.partsOpen < partsInFlightMax) {
      const at = request.nextBytes
      const length = partBytesAt(at, request.endBytes)
      request.nextBytes += length
      request.partsOpen++
      this.path.submit(this.#part(request, at, length))
    }
    if (request.partsOpen === 0) this.#answerLater(request)
  }

  #part(request: IoRequest, atBytes: number, length: number): IoPart {
    const part = this.#freeParts.pop() ?? new IoPart(this)
    const { volume, pool } = this.#mapped
    part.request = request
    part.chunk = Math.floor(atBytes / chunkBytes)
    part.offset = atBytes - part.chunk * chunkBytes
    part.length = length
    part.slice = sliceOfChunk(volume, pool, part.chunk)
    part.notMappedSinceMs = 0
    part.flags = request.fua ? frameFlags.fua : 0
    part.opcode = opcodes[request.kind as Exclude<IoKind, 'flush'>]
    part.body = noBody
    if (request.kind === 'write') this.#setPayload(part, request, atBytes)
    else if (request.kind === 'zero' && !request.mayPunch) part.flags |= frameFlags.keepAllocated
    // Without a note nothing may be left unflushed.
    if (!this.notes.usable && part.opcode !== opcodes.read) part.flags |= frameFlags.fua
    return part
  }

  #setPayload(part: IoPart, request: IoRequest, atBytes: number): void {
    const body = slicePieces(request.pieces, atBytes - request.startBytes, part.length)
    // A chunk of zeroes is a hole; thick volumes keep theirs.
    if (part.length === chunkBytes && this.volume.type === 'thin' && isAllZero(body)) {
      part.opcode = opcodes.trim
      this.stats.zeroChunks++
    } else part.body = body
  }

  // ---- parts

  frameForPart(part: IoPart, requestId: number): DataFrame {
    part.epoch = this.path.recordOf(this.poolId, part.slice)?.epoch ?? 0
    return {
      opcode: part.opcode,
      flags: part.flags,
      status: 0,
      requestId,
      slice: part.slice,
      epoch: part.epoch,
      mapping: this.mappingNumber,
      volume: this.volumeNumber,
      chunk: part.chunk,
      offset: part.offset,
      length: part.length,
      pool: this.poolNumber,
      mapVersion: this.path.host.map.version,
      body: part.body,
      bodyBytes: part.body === noBody ? 0 : part.length,
    }
  }

  partAnswered(part: IoPart, frame: DataFrame): void {
    if (frame.status !== 0) {
      if (this.#closed) this.#partDone(part, 'ESHUTDOWN')
      else {
        this.stats.retries++
        this.path.refused(part, frame)
      }
      return
    }
    this.path.succeeded(part)
    if (part.opcode === opcodes.read) this.#partDone(part, this.#takeData(part, frame))
    else if ((part.flags & frameFlags.fua) !== 0 || this.notes.note(part.slice, part.epoch)) this.#partDone(part, null)
    else {
      // Answered, but it could not be noted that it is not durable yet: make it durable.
      part.flags |= frameFlags.fua
      this.path.submit(part)
    }
  }

  partFailed(part: IoPart, error: StorageError): void {
    const { chunk } = part
    this.path.host.log.warn('io.failed', { volumeId: this.volume.id, chunk, code: error.code, reason: error.message })
    this.#partDone(part, errorTable[error.code].nbd)
  }

  /** Its connection ended after the volume was closed. */
  partDropped(part: IoPart): void {
    this.#partDone(part, 'ESHUTDOWN')
  }

  #takeData(part: IoPart, frame: DataFrame): NbdErrno | null {
    if (frame.bodyBytes !== part.length) return 'EIO'
    const request = part.request!
    let at = part.chunk * chunkBytes + part.offset - request.startBytes
    for (const piece of frame.body) at += piece.copy(request.target!, at)
    return null
  }

  #partDone(part: IoPart, errno: NbdErrno | null): void {
    const request = part.request!
    part.request = null
    part.body = noBody
    this.#freeParts.push(part)
    request.partsOpen--
    if (errno !== null) {
      request.errno ??= errno
      // The rest would be for nothing.
      request.nextBytes = request.endBytes
    }
    if (this.#closed && request.nextBytes < request.endBytes) {
      request.errno ??= 'ESHUTDOWN'
      request.nextBytes = request.endBytes
    }
    if (request.nextBytes < request.endBytes) this.#sendParts(request)
    else if (request.partsOpen === 0) this.#answer(request)
  }

  // ---- the end of a request

  #fail(request: IoRequest, errno: NbdErrno): void {
    request.errno = errno
    this.#answer(request)
  }

  /** Nobody is called back within his own call. */
  #answerLater(request: IoRequest): void {
    this.path.host.clock.endOfTurn(() => this.#answer(request))
  }

  #answer(request: IoRequest): void {
    const { done, errno } = request
    if (done === null) return
    request.done = null
    request.target = null
    request.pieces = []
    this.#active.remove(request)
    if (errno !== null) this.stats.errors++
    if (!request.throttled && request.kind !== 'flush') this.#freeRequests.push(request)
    done(errno)
    if (this.#active.size === 0) for (const resolve of this.#onIdle.splice(0)) resolve()
  }

  /** The application hears EIO, and nothing of the request is sent again. */
  #timeOut(request: IoRequest): void {
    this.stats.timeouts++
    this.path.host.log.error('io.timedOut', { volumeId: this.volume.id, kind: request.kind, at: request.startBytes })
    request.errno = 'EIO'
    request.nextBytes = request.endBytes
    this.path.forEachRouted(item => {
      if (!(item instanceof IoPart) || item.request !== request) return
      this.path.takeBack(item)
      item.request = null
      item.body = noBody
      this.#freeParts.push(item)
    })
    request.partsOpen = 0
    this.#answer(request)
  }
}

const limitsOf = ({ volume, mapping, pool }: MappedVolume) => effectiveLimits(volume, mapping, pool)
