import { assert } from '../base/assert.js'
import { type ErrorCode, errorCodeOfWire } from '../base/errors.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes } from '../base/units.js'
import type { SliceRecord } from '../model/index.js'
import { type DataFrame, frameFlags, makeCopyFrame, opcodes } from '../wire/data.js'
import { releasePieces } from '../wire/payload-memory.js'
import { checkClientRequest } from './admission.js'
import { DeviceRequest } from './device-request.js'
import { isWorthLane, Lane } from './lane.js'
import type { LeaseWaiter } from './leases.js'
import type { CopyOwner, CopySend } from './replicas.js'
import type { Session } from './session.js'
import { noteJoiningFull, noteUnsound } from './slice-notes.js'
import type { StoreDone, StoreError } from './store/device-store.js'
import { codeOfStoreError } from './store-error.js'

/** What a request does to the copies; decided by the primary alone, so that all copies round it in the same way. */
type Deed = 'write' | 'zero' | 'remove' | 'nothing'
type Phase = 'waiting' | 'applying' | 'undoing' | 'leasing' | 'ended'

const againMs = 1_000

/**
 * A client's write, trim or zero at the primary (design section 5, rule 2): all copies or no answer. Under the exclusive
 * lock it goes to every other copy of the record and to the own disk, side by side. When the record changes it is sent
 * again to all copies of the new one; when this device is no longer primary it is refused once the own disk is done. Where
 * a disk fails while another copy in sync has the change, it is held until the record goes on without that disk.
 */
export class PrimaryChange extends DeviceRequest implements CopyOwner, LeaseWaiter {
  #phase: Phase = 'waiting'
  #deed: Deed = 'nothing'
  #record: SliceRecord | undefined
  #sends: CopySend[] = []
  #ownPending = false
  #ownError: ErrorCode | null = null
  #copyError: ErrorCode | null = null
  /** Set where the configuration took the change away from us. */
  #lostTo: ErrorCode | null = null
  /** The chunk had no slot before this change. */
  #isFirst = false
  #isGoingOn = false
  /** The chunk is changed again and again. */
  #isWorthLane = false
  /** A sending may still be on its way with the payload. */
  #wasAbandoned = false

  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {
    super(session.device, frame.volume, frame.chunk)
    this.mapping = frame.mapping
    this.isApplication = true
  }

  start(): void {
    this.beginExclusive(this.frame.offset, this.frame.length)
  }

  /** It was begun by a lane, and is the heir of that: whatever was removed meanwhile, all copies get it. */
  goOn(): this {
    this.#isGoingOn = true
    this.inherit(this.frame.offset, this.frame.length)
    return this
  }

  override lockGranted(): void {
    const { context } = this.session
    const verdict = this.#isGoingOn ? this.#mayGoOn() : checkClientRequest(context, this.session, this.frame)
    if (verdict !== 'admit') {
      this.#refuse(verdict === 'park' ? 'NOT_READY' : verdict)
      return
    }
    const { pool, slice, volume, chunk } = this.frame
    const isAllocated = this.device.store.has(volume, chunk)
    this.#deed = deedOf(this.frame, isAllocated, context.view.pools.get(pool)!.zeroPadding)
    if (this.#deed === 'nothing') {
      this.#answerNothing()
      return
    }
    this.#isWorthLane = this.#deed === 'write' && !this.#isGoingOn && isWorthLane(this.session, this.frame)
    if (!isAllocated && this.#deed !== 'remove') {
      assert(this.holdsWholeChunk, 'a chunk is allocated under a lock of the whole chunk')
      const kind = context.view.volumes.get(volume)!.thick ? 'thick' : 'thin'
      if (!this.device.store.reserve(volume, chunk, kind, false)) {
        this.#refuse('OUT_OF_SPACE')
        return
      }
      this.#isFirst = true
    }
    this.#phase = 'applying'
    this.#record = context.view.record(pool, slice)
    this.#sendToCopies()
    this.#applyHere()
  }

  /** Of what was begun under the record of the frame. */
  #mayGoOn(): 'admit' | ErrorCode {
    const { context } = this.session
    const { pool, slice, epoch } = this.frame
    const record = context.view.record(pool, slice)
    if (record?.primary !== this.device.id || context.leases.wasAwaySince(pool, slice, epoch)) {
      // What another primary did in between must not be overwritten by what it never had.
      if (record !== undefined) noteUnsound(context, this.device, record)
      return 'STALE_EPOCH'
    }
    return context.view.volumes.has(this.volume) ? 'admit' : 'NOT_MAPPED'
  }

  /** That nothing is to be done was read from the own copy, and is answered like a read: with the leases. */
  #answerNothing(): void {
    const { context } = this.session
    const { pool, slice } = this.frame
    if (context.leases.holdsAll(context.view.record(pool, slice)!)) this.#succeed()
    else {
      this.#phase = 'leasing'
      context.leases.await(this)
    }
  }

  leaseRenewed(): void {
    const { context } = this.session
    context.leases.forget(this)
    const verdict = checkClientRequest(context, this.session, this.frame)
    if (verdict === 'admit') this.#answerNothing()
    else this.#refuse(verdict === 'park' ? 'NOT_READY' : verdict)
  }

  override mapChanged(): void {
    if (this.#phase === 'leasing') this.leaseRenewed()
    if (this.#phase !== 'applying' && this.#phase !== 'undoing') return
    const { view } = this.session.context
    const record = view.record(this.frame.pool, this.frame.slice)
    const isGone = !view.volumes.has(this.volume)
    if (record === this.#record && !isGone) return
    if (this.#sends.length > 0) this.#wasAbandoned = true
    for (const send of this.#sends) send.abandon()
    this.#sends = []
    const { leases } = this.session.context
    // What another primary did in between must not be overwritten by what it never had.
    const wasAway = leases.wasAwaySince(this.frame.pool, this.frame.slice, this.#record!.epoch)
    this.#record = record
    this.#copyError = null
    if (isGone) this.#lostTo = 'NOT_MAPPED'
    else if (record?.primary !== this.device.id || wasAway) {
      this.#lostTo = 'STALE_EPOCH'
      if (record !== undefined) noteUnsound(this.session.context, this.device, record)
    } else if (!mutate('fix-the-copies-of-a-write-when-it-begins')) this.#sendToCopies()
    this.#settle()
  }

  copyAnswered(send: CopySend, status: number): void {
    const code = status === 0 ? null : errorCodeOfWire(status)
    if (code === 'OUT_OF_SPACE' && send.peer.deviceId === this.#record?.joining) {
      // It is the joining copy that goes, not the write that fails. The MDM hears of it; until then the write waits.
      noteJoiningFull(this.session.context, this.device, this.#record)
      send.peer.sendLater(send, againMs)
      return
    }
    if (code === 'OUT_OF_SPACE' && this.#phase === 'applying' && !this.#isFirst) {
      // All copies had a slot for it, or should have had. Nothing to give back, and no answer with fewer copies.
      this.session.context.log.warn('sds.copy-full', { deviceId: send.peer.deviceId, volume: this.volume })
      send.peer.sendLater(send, againMs)
      return
    }
    if (code !== null && code !== 'OUT_OF_SPACE' && code !== 'MEDIA_ERROR') {
      // Not an answer about the disk: no reason to go on with fewer copies.
      this.session.context.log.error('sds.copy-refused', { deviceId: send.peer.deviceId, code, volume: this.volume })
      send.peer.sendLater(send, againMs)
      return
    }
    const at = this.#sends.indexOf(send)
    if (at < 0) return
    this.#sends.splice(at, 1)
    if (code !== null && this.#copyError !== 'OUT_OF_SPACE') this.#copyError = code
    this.#settle()
  }

  #sendToCopies(): void {
    const { secondary, joining } = this.#record!
    if (secondary !== null) this.#sendTo(secondary)
    if (joining !== null) this.#sendTo(joining)
  }

  #sendTo(deviceId: SliceRecord['primary']): void {
    this.#sends.push(this.session.context.peers.send(this, deviceId, this.#copyFrame(), true))
  }

  #copyFrame(): DataFrame {
    const { frame } = this
    const { epoch } = this.#record!
    const fua = frame.flags & frameFlags.fua
    if (this.#phase === 'undoing' || this.#deed === 'remove')
      return makeCopyFrame(frame, opcodes.copyTrim, fua, epoch, { offset: 0, length: chunkBytes })
    if (this.#deed === 'write') return makeCopyFrame(frame, opcodes.copyWrite, fua, epoch, { body: frame.body })
    // A chunk that this copy has is to be allocated on the others as well.
    return makeCopyFrame(frame, opcodes.copyZero, fua | frameFlags.keepAllocated, epoch)
  }

  #applyHere(): void {
    this.#ownPending = true
    const { store } = this.device
    const { volume, chunk, offset, length, body } = this.frame
    const done: StoreDone = error => this.#appliedHere(error)
    if (this.#deed === 'write') store.write(volume, chunk, offset, body, done)
    else if (this.#deed === 'zero') store.zero(volume, chunk, offset, length, done)
    else store.remove(volume, chunk, done)
  }

  #appliedHere(error: StoreError | null): void {
    if (error === null && (this.frame.flags & frameFlags.fua) !== 0) {
      this.device.store.sync(syncError => this.#hereDone(syncError))
      return
    }
    this.#hereDone(error)
  }

  #hereDone(error: StoreError | null): void {
    this.#ownPending = false
    if (error !== null) this.#ownError = codeOfStoreError(this.session.context, error, this.device)
    this.#settle()
  }

  #settle(): void {
    if (this.#ownPending || this.#phase === 'ended' || this.#isHeld()) return
    if (this.#sends.length > 0 && !mutate('acknowledge-before-the-secondary')) return
    const error = this.#lostTo ?? this.#ownError ?? this.#copyError
    if (error === null) this.#succeed()
    else if (this.#mustUndo()) this.#undo()
    else this.#refuse(this.#phase === 'undoing' ? (this.#lostTo ?? 'OUT_OF_SPACE') : error)
  }

  /**
   * A disk failed, and the record is about to change for it: then the change is refused as stale, to be sent to the new
   * primary, or is complete without that copy. The last copy in sync has nobody to hand over to; its errors are answered.
   */
  #isHeld(): boolean {
    if (this.#lostTo !== null) return false
    return this.#copyError === 'MEDIA_ERROR' || (this.#ownError === 'MEDIA_ERROR' && this.#record!.secondary !== null)
  }

  /** A copy had no room for a chunk that was unallocated: all give their slots back, so that nothing has changed. */
  #mustUndo(): boolean {
    const isFull = this.#copyError === 'OUT_OF_SPACE' || this.#ownError === 'OUT_OF_SPACE'
    return this.#phase === 'applying' && this.#isFirst && isFull && this.#lostTo === null
  }

  #undo(): void {
    this.#phase = 'undoing'
    this.#copyError = 'OUT_OF_SPACE'
    this.#ownError = null
    this.#sendToCopies()
    this.#ownPending = true
    this.device.store.remove(this.volume, this.chunk, error => this.#hereDone(error))
  }

  #succeed(): void {
    if (this.#phase === 'undoing') {
      this.#refuse('OUT_OF_SPACE')
      return
    }
    this.#phase = 'ended'
    const { counters } = this.session.context
    if (this.frame.opcode === opcodes.write) {
      counters.writes++
      counters.writeBytes += this.frame.length
    } else if (this.frame.opcode === opcodes.trim) counters.trims++
    else counters.zeroes++
    this.session.answer(this.frame)
    // The device and all copies have it: nobody looks at the payload any more.
    if (!this.#wasAbandoned) releasePieces(this.frame.body)
    this.end()
    if (this.#isWorthLane)
      Lane.open(this.session, this.frame, (session, frame) => new PrimaryChange(session, frame).goOn())
  }

  #refuse(code: ErrorCode): void {
    this.#phase = 'ended'
    this.session.refuse(this.frame, code)
    this.end()
  }
}

function deedOf(frame: DataFrame, isAllocated: boolean, zeroPadding: boolean): Deed {
  // With FUA the zeroes of a hole are to be durable as well: the removal that made it may not be, on any copy.
  const isHole = !isAllocated && (frame.flags & frameFlags.fua) !== 0
  const isWhole = isHole || (frame.offset === 0 && frame.length === chunkBytes)
  switch (frame.opcode) {
    case opcodes.write:
      return 'write'
    case opcodes.trim:
      if (isWhole) return 'remove'
      return isAllocated && zeroPadding ? 'zero' : 'nothing'
    default: {
      assert(frame.opcode === opcodes.zero, 'a change is a write, a trim or a zero')
      if ((frame.flags & frameFlags.keepAllocated) !== 0) return 'zero'
      if (isWhole) return 'remove'
      return isAllocated ? 'zero' : 'nothing'
    }
  }
}
