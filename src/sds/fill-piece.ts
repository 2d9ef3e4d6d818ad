import { errorTable } from '../base/errors.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes, KiB } from '../base/units.js'
import { frameFlags, makeFrame, opcodes } from '../wire/data.js'
import { releasePiece, takePayload } from '../wire/payload-memory.js'
import { DeviceRequest } from './device-request.js'
import type { CopyOwner, CopySend } from './replicas.js'
import type { SliceFill } from './slice-fill.js'

/** What is copied at a time, and for how long a write to it may have to wait. */
export const pieceBytes = 256 * KiB
const pieceZeroes = Buffer.alloc(pieceBytes)

/** One piece of a chunk on its way, under a lock that keeps overlapping changes out until the copy has it. */
export class FillPiece extends DeviceRequest implements CopyOwner {
  #send: CopySend | null = null
  #isReading = false
  #isOver = false
  #bytes = 0
  #data: Buffer | null = null

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
    const target = takePayload(pieceBytes)
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
    // Answered, so it has left; whatever else ended it, the connection may still hold it.
    if (status === 0 && this.#data !== null) releasePiece(this.#data)
    this.#data = null
    if (status === 0) this.fill.resync.copied(this.fill, this.#bytes)
    else if (status === errorTable.OUT_OF_SPACE.wire) this.fill.noteFull()
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
    this.#data = data
    const frame = data.equals(pieceZeroes)
      ? makeFrame({ ...place, opcode: opcodes.copyZero, flags: frameFlags.keepAllocated })
      : makeFrame({ ...place, opcode: opcodes.copyWrite, body: [data] })
    this.#bytes = pieceBytes
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
