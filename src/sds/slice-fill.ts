import { errorTable } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes } from '../base/units.js'
import { type FillKind, type PoolView, unexplainedChunks } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import { type DataFrame, frameFlags, makeFrame, opcodes } from '../wire/data.js'
import { type ChunkName, decodePairs, encodePairs, keyOf, pairsMax } from './chunk-pairs.js'
import { FillPiece, pieceBytes } from './fill-piece.js'
import type { CopyOwner, CopySend } from './replicas.js'
import type { Resync } from './resync.js'
import { allocatedChunks, chunksOfSlice, marksOfSlice, unionInSlice } from './slice-chunks.js'
import { noteJoiningFull } from './slice-notes.js'

const piecesPerChunk = chunkBytes / pieceBytes

/**
 * Fills one slice of a joining copy (design section 5, rule 5), then has all of it made durable there.
 *
 * By marks, where the joining copy is the one that left while this primary went on alone: what either side has marked is
 * copied, holes as holes, and all else is equal. Otherwise everything: the chunks that the primary has are named, the
 * joining copy drops all others, and each is copied.
 *
 * None of its requests is ever sent again: a list of chunks that was true yesterday would make the copy drop what it got
 * today. Whatever interrupts it, it starts over.
 */
export class SliceFill implements CopyOwner {
  #phase: 'queued' | 'asking' | 'beginning' | 'copying' | 'syncing' | 'over' = 'queued'
  #chunks: ChunkName[]
  #nextPiece = 0
  #pieces = new Set<FillPiece>()
  #send: CopySend | null = null
  #hasFailed = false
  /** Marks did not suffice, which they should have. */
  #needsAll = false
  /** When the joining copy was asked what it has, and what was being changed here then. */
  #asked: { atMs: number; busy: ReadonlySet<number> } | null = null

  constructor(
    readonly resync: Resync,
    readonly pool: PoolView,
    readonly record: SliceRecord,
    readonly joining: DeviceId,
  ) {
    const chunksOf = this.isByMarks ? marksOfSlice : chunksOfSlice
    this.#chunks = chunksOf(resync.context, resync.device, pool, record.slice)
  }

  get kind(): FillKind {
    return this.record.secondary === null ? 'rebuild' : 'rebalance'
  }

  get isByMarks(): boolean {
    if (mutate('fill-every-copy-by-marks')) return !this.#needsAll
    return this.record.left === this.joining && this.record.secondary === null && !this.#needsAll
  }

  get chunksLeft(): number {
    return this.#chunks.length - Math.floor(this.#nextPiece / piecesPerChunk)
  }
  get chunksTotal(): number {
    return this.#chunks.length
  }

  get isCancelled(): boolean {
    return this.#hasFailed
  }

  start(): void {
    this.#hasFailed = false
    this.#nextPiece = 0
    if (this.isByMarks) {
      this.#phase = 'asking'
      this.#send = this.send(this, makeFrame({ opcode: opcodes.resyncMarks }))
      return
    }
    this.#chunks = chunksOfSlice(this.resync.context, this.resync.device, this.pool, this.record.slice)
    this.#phase = 'beginning'
    this.#send = this.send(this, makeFrame({ opcode: opcodes.resyncBegin, body: [encodePairs(this.#chunks)] }))
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

  copyAnswered(_send: CopySend, status: number, reply: DataFrame | null): void {
    this.#send = null
    if (status !== 0) {
      // More marks than one answer holds: then the difference to copying everything is small.
      if (this.#phase === 'asking' && status === errorTable.BAD_REQUEST.wire) this.#needsAll = true
      this.#fail()
    } else if (this.#phase === 'asking') this.#marksKnown(decodePairs(reply!))
    else if (this.#phase === 'beginning') this.#copy()
    else if (this.#isEqual(reply!)) this.#end(true)
    else this.#fail()
  }

  /** Its turn has come: the next piece. */
  startPiece(): void {
    const at = this.#nextPiece++
    const { volume, chunk } = this.#chunks[Math.floor(at / piecesPerChunk)]!
    const piece = new FillPiece(this, volume, chunk, (at % piecesPerChunk) * pieceBytes)
    this.#pieces.add(piece)
    if (this.#nextPiece === this.#piecesTotal) this.resync.pieces.leave(this)
    piece.start()
  }

  pieceDone(piece: FillPiece, isGood: boolean): void {
    this.#pieces.delete(piece)
    this.resync.pieces.pieceEnded(this.kind)
    if (!isGood || this.#hasFailed) this.#fail()
    else this.#syncIfCopied()
    this.resync.pieces.pump()
  }

  /** The joining copy has no room. */
  noteFull(): void {
    noteJoiningFull(this.resync.context, this.resync.device, this.record)
  }

  get #piecesTotal(): number {
    return this.#chunks.length * piecesPerChunk
  }

  #marksKnown(theirs: ChunkName[]): void {
    const { context, device } = this.resync
    const own = mutate('ignore-own-marks') ? [] : marksOfSlice(context, device, this.pool, this.record.slice)
    const others = mutate('ignore-the-marks-of-who-returns') ? [] : theirs
    this.#chunks = unionInSlice(context, this.pool, this.record.slice, own, others)
    this.#copy()
  }

  #copy(): void {
    this.#phase = 'copying'
    if (this.#piecesTotal > 0) this.resync.pieces.enter(this)
    this.#syncIfCopied()
  }

  #syncIfCopied(): void {
    if (this.#phase !== 'copying' || this.#nextPiece < this.#piecesTotal || this.#pieces.size > 0) return
    this.#phase = 'syncing'
    this.#asked = { atMs: this.resync.context.clock.nowMs(), busy: this.resync.busyChunks() }
    this.resync.syncing(this)
    if (mutate('join-before-the-sync')) {
      this.#end(true)
      return
    }
    this.#send = this.send(this, makeFrame({ opcode: opcodes.resyncSync }))
  }

  /**
   * Whether both sides have the same chunks, as far as they are not being changed: cheap, and it finds what marks or a
   * list of chunks that were not what they should be would have left out. A copy that differs is filled again, whole.
   */
  #isEqual(reply: DataFrame): boolean {
    const { context, device } = this.resync
    const own = allocatedChunks(context, device, this.pool, this.record.slice)
    const theirs = decodePairs(reply)
    if (own.length > pairsMax) return true
    const asked = this.#asked!
    const busy = this.resync.busyChunks()
    const names = new Map([...own, ...theirs].map(name => [keyOf(name), name]))
    const odd = unexplainedChunks(own.map(keyOf), theirs.map(keyOf), {
      isBusy: key => asked.busy.has(key) || busy.has(key),
      isTouched: key => {
        const { volume, chunk } = names.get(key)!
        const touch = this.resync.touchOf(volume, chunk)
        return touch === null || touch >= asked.atMs
      },
    })
    if (odd.length === 0) return true
    const { slice, epoch } = this.record
    const example = names.get(odd[0]!)!
    const about = { deviceId: this.joining, slice, epoch, byMarks: this.isByMarks, chunks: odd.length, ...example }
    context.log.error('sds.resync-differs', about)
    context.counters.resyncDifferences++
    this.#needsAll = true
    return false
  }

  #fail(): void {
    if (!this.#hasFailed) {
      this.#hasFailed = true
      this.resync.pieces.leave(this)
      this.#send?.abandon()
      this.#send = null
      for (const piece of [...this.#pieces]) piece.cancel()
    }
    if (this.#pieces.size === 0) this.#end(false)
  }

  #end(isDone: boolean): void {
    if (this.#phase === 'over' || this.#phase === 'queued') return
    if (this.#phase === 'syncing') this.resync.syncEnded(this)
    this.#phase = isDone ? 'over' : 'queued'
    if (!isDone) this.#nextPiece = 0
    this.resync.ended(this, isDone)
  }
}
