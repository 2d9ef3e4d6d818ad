import type { ErrorCode } from '../base/errors.js'
import { mutate } from '../base/mutation.js'
import { chunkBytes } from '../base/units.js'
import { roleOf } from '../core/sds/index.js'
import { type DataFrame, frameFlags, opcodes } from '../wire/data.js'
import { releasePieces, takePayload } from '../wire/payload-memory.js'
import { checkCopyRequest } from './admission.js'
import { DeviceRequest } from './device-request.js'
import { isWorthLane, Lane } from './lane.js'
import type { Session } from './session.js'
import type { StoreDone, StoreError } from './store/device-store.js'
import { codeOfStoreError } from './store-error.js'

/** A primary's change on this copy. Whatever its role, a copy orders what touches its disk by its own range locks. */
export class CopyChange extends DeviceRequest {
  #isGoingOn = false
  /** The chunk is changed again and again. */
  #isWorthLane = false

  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {
    super(session.device, frame.volume, frame.chunk)
    this.isApplication = (frame.flags & frameFlags.resync) === 0
  }

  start(): void {
    if (mutate('lock-ranges-at-the-primary-only')) this.lockAlone()
    this.beginExclusive(this.frame.offset, this.frame.length)
  }

  /** It was begun by a lane, and is the heir of that. */
  goOn(): this {
    this.#isGoingOn = true
    this.inherit(this.frame.offset, this.frame.length)
    return this
  }

  override lockGranted(): void {
    const { context } = this.session
    const verdict = this.#isGoingOn ? 'admit' : checkCopyRequest(context, this.session, this.frame)
    if (verdict !== 'admit') {
      this.#refuse(verdict === 'park' ? 'NOT_READY' : verdict)
      return
    }
    const { opcode, flags, volume, chunk, offset, length, body } = this.frame
    const { store } = this.device
    const done: StoreDone = error => this.#applied(error)
    if (opcode === opcodes.copyTrim) {
      store.remove(volume, chunk, done)
      return
    }
    const keepsAllocated = opcode === opcodes.copyWrite || (flags & frameFlags.keepAllocated) !== 0
    if (!store.has(volume, chunk)) {
      if (!keepsAllocated) {
        this.#succeed()
        return
      }
      if (!this.#reserve()) {
        this.#refuse('OUT_OF_SPACE')
        return
      }
    }
    if (opcode === opcodes.copyWrite) {
      this.#isWorthLane = !this.#isGoingOn && isWorthLane(this.session, this.frame)
      store.write(volume, chunk, offset, body, done)
    } else store.zero(volume, chunk, offset, length, done)
  }

  /** Filling a joining copy may use the spare, and so may the new writes that it gets meanwhile. */
  #reserve(): boolean {
    const { view } = this.session.context
    const { pool, slice, volume, chunk, flags } = this.frame
    const isJoining = roleOf(view.record(pool, slice)!, this.device.id) === 'joining'
    const useSpare = isJoining || (flags & frameFlags.resync) !== 0
    return this.device.store.reserve(volume, chunk, view.volumes.get(volume)!.thick ? 'thick' : 'thin', useSpare)
  }

  #applied(error: StoreError | null): void {
    if (error !== null) {
      this.#refuse(codeOfStoreError(this.session.context, error, this.device))
      return
    }
    if ((this.frame.flags & frameFlags.fua) === 0) {
      this.#succeed()
      return
    }
    this.device.store.sync(syncError => {
      if (syncError === null) this.#succeed()
      else this.#refuse(codeOfStoreError(this.session.context, syncError, this.device))
    })
  }

  #succeed(): void {
    this.session.context.counters.copyWrites++
    this.session.answer(this.frame)
    // The device has it: nobody looks at the payload any more.
    releasePieces(this.frame.body)
    this.end()
    if (this.#isWorthLane)
      Lane.open(this.session, this.frame, (session, frame) => new CopyChange(session, frame).goOn())
  }

  #refuse(code: ErrorCode): void {
    this.session.refuse(this.frame, code)
    this.end()
  }
}

/** A read by the primary: its own device failed, or it compares copies. */
export class CopyRead extends DeviceRequest {
  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {
    super(session.device, frame.volume, frame.chunk)
  }

  start(): void {
    this.beginShared(this.frame.offset, this.frame.length)
  }

  override lockGranted(): void {
    const verdict = checkCopyRequest(this.session.context, this.session, this.frame)
    if (verdict !== 'admit') {
      this.#end(verdict === 'park' ? 'NOT_READY' : verdict, null)
      return
    }
    const { volume, chunk, offset, length } = this.frame
    const target = takePayload(length)
    this.device.store.read(volume, chunk, offset, target, error => {
      if (error === null) this.#end(null, target)
      else this.#end(codeOfStoreError(this.session.context, error), null)
    })
  }

  #end(code: ErrorCode | null, data: Buffer | null): void {
    if (data === null) this.session.refuse(this.frame, code!)
    else {
      this.session.context.counters.copyReads++
      this.session.answer(this.frame, [data], true)
    }
    this.end()
  }
}

/** A trim between copies is of whole chunks: parts are zeroed, as the primary decided. */
export const isWholeChunk = (frame: DataFrame): boolean => frame.offset === 0 && frame.length === chunkBytes
