import type { DeviceId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes, KiB } from '../base/units.js'
import type { PoolView } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import { type DataFrame, frameFlags, makeFrame, opcodes } from '../wire/data.js'
import { DeviceRequest } from './device-request.js'
import type { CopyOwner, CopySend } from './replicas.js'
import type { Resync } from './resync.js'

const pieceBytes = 256 * KiB
const piecesAtOnce = 2
const pieceZeroes = Buffer.alloc(pieceBytes)

/**
 * Fills one slice of a joining copy: names the chunks that the primary has, copies each in pieces, has all of it made
 * durable. None of its requests is ever sent again: a list of chunks that was true yesterday would make the copy drop
 * what it got today. Whatever interrupts it, it starts over.
 */
export class SliceFill implements CopyOwner {
  #phase: 'queued' | 'beginning' | 'copying' | 'syncing' | 'over' = 'queued'
  #chunks: { volume: number; chunk: number }[]
  #nextPiece = 0
  #pieces = new Set<FillPiece>()
  #send: CopySend | null = null
  #hasFailed = false

  constructor(
    readonly resync: Resync,
    readonly pool: PoolView,
    readonly record: SliceRecord,
    readonly joining: DeviceId,
  ) {
    this.#chunks = resync.chunksOf(pool, record.slice)
  }

  get chunksLeft(): number {
    return this.#chunks.length - Math.floor(this.#nextPiece / (chunkBytes / pieceBytes))
  }

  get isCancelled(): boolean {
    return this.#hasFailed
  }

  start(): void {
    this.#hasFailed = false
    this.#nextPiece = 0
    this.#chunks = this.resync.chunksOf(this.pool, this.record.slice)
    const list = Buffer.allocUnsafe(this.#chunks.length * 8)
    for (const [i, { volume, chunk }] of this.#chunks.entries()) {
      list.writeUInt32BE(volume, i * 8)
      list.writeUInt32BE(chunk, i * 8 + 4)
    }
    this.#phase = 'beginning'
    this.#send = this.send(this, makeFrame({ opcode: opcodes.resyncBegin, body: [list] }))
  }

  /** Of no use any more. Pieces under way let go of their locks when their disk has answered. */
  cancel(): void {
    if (this.#phase === 'queued' || this.#phase === 'over') return
    this.#fail()
  }

  send(owner: CopyOwner, frame: DataFrame): CopySend {
    const { slice, epoch } = this.record
    const request = { ...frame, pool: this.pool.number, slice, epoch, flags: frame.flags | frameFlags.resync }
    return this.resync.context.peers.send(owner, this.joining, request, false)
  }

  copyAnswered(_send: CopySend, status: number): void {
    this.#send = null
    if (status !== 0) this.#fail()
    else if (this.#phase === 'beginning') {
      this.#phase = 'copying'
      this.#copy()
    } else this.#end(true)
  }

  pieceDone(piece: FillPiece, isGood: boolean): void {
    this.#pieces.delete(piece)
    if (!isGood || this.#hasFailed) this.#fail()
    else this.#copy()
  }

  #copy(): void {
    const piecesPerChunk = chunkBytes / pieceBytes
    const total = this.#chunks.length * piecesPerChunk
    while (this.#pieces.size < piecesAtOnce && this.#nextPiece < total && !this.#hasFailed) {
      const at = this.#nextPiece++
      const { volume, chunk } = this.#chunks[Math.floor(at / piecesPerChunk)]!
      const piece = new FillPiece(this, volume, chunk, (at % piecesPerChunk) * pieceBytes)
      this.#pieces.add(piece)
      piece.start()
    }
    if (this.#pieces.size > 0 || this.#phase !== 'copying' || this.#hasFailed) return
    this.#phase = 'syncing'
    this.resync.syncing()
    if (mutate('join-before-the-sync')) {
      this.#end(true)
      return
    }
    this.#send = this.send(this, makeFrame({ opcode: opcodes.resyncSync }))
  }

  #fail(): void {
    this.#hasFailed = true
    this.#send?.abandon()
    this.#send = null
    for (const piece of [...this.#pieces]) piece.cancel()
    if (this.#pieces.size === 0) this.#end(false)
  }

  #end(isDone: boolean): void {
    if (this.#phase === 'over' || this.#phase === 'queued') return
    if (this.#phase === 'syncing') this.resync.syncEnded()
    this.#phase = isDone ? 'over' : 'queued'
    if (!isDone) this.#nextPiece = 0
    this.resync.ended(this, isDone)
  }
}

/** One piece of a chunk on its way, under a lock that keeps overlapping changes out until the copy has it. */
class FillPiece extends DeviceRequest implements CopyOwner {
  #send: CopySend | null = null
  #isReading = false
  #isOver = false

  constructor(
    readonly fill: SliceFill,
    volume: number,
    chunk: number,
    readonly offset: number,
  ) {
    super(fill.resync.device, volume, chunk)
  }

  start(): void {
    // Shared: the piece changes nothing here, so that only changes wait for it, not the clients' reads.
    if (mutate('copy-without-the-lock')) this.lockAlone()
    this.beginShared(this.offset, pieceBytes)
  }

  override lockGranted(): void {
    if (this.fill.isCancelled) {
      this.#end(false)
      return
    }
    // Nobody can allocate the chunk while a part of it is locked: so the joining copy must not have it either.
    if (!this.device.store.has(this.volume, this.chunk)) {
      this.#drop()
      return
    }
    const target = Buffer.allocUnsafe(pieceBytes)
    this.#isReading = true
    this.device.store.read(this.volume, this.chunk, this.offset, target, error => {
      this.#isReading = false
      if (error !== null || this.fill.isCancelled) this.#end(false)
      else this.#copy(target)
    })
  }

  cancel(): void {
    this.#send?.abandon()
    if (this.#send !== null) this.#end(false)
  }

  copyAnswered(_send: CopySend, status: number): void {
    this.#send = null
    if (status === 0) this.fill.resync.context.counters.resyncBytes += pieceBytes
    this.#end(status === 0)
  }

  #drop(): void {
    const { volume, chunk } = this
    const frame = makeFrame({ opcode: opcodes.copyTrim, volume, chunk, offset: 0, length: chunkBytes })
    this.#send = this.fill.send(this, frame)
  }

  #copy(data: Buffer): void {
    const { volume, chunk, offset } = this
    const place = { volume, chunk, offset, length: pieceBytes }
    const frame = data.equals(pieceZeroes)
      ? makeFrame({ ...place, opcode: opcodes.copyZero, flags: frameFlags.keepAllocated })
      : makeFrame({ ...place, opcode: opcodes.copyWrite, body: [data] })
    this.#send = this.fill.send(this, frame)
  }

  #end(isGood: boolean): void {
    if (this.#isOver || this.#isReading) return
    this.#isOver = true
    this.#send = null
    this.end()
    this.fill.pieceDone(this, isGood)
  }
}
