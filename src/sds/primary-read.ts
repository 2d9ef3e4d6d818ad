import { mutate } from '../base/mutation.js'
import { roleOf } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import { type DataFrame, makeFrame, opcodes } from '../wire/data.js'
import { takePayload } from '../wire/payload-memory.js'
import { checkArrival, checkClientRequest } from './admission.js'
import { DeviceRequest } from './device-request.js'
import type { LeaseWaiter } from './leases.js'
import { repair } from './repair.js'
import type { CopyOwner, CopySend } from './replicas.js'
import type { Session } from './session.js'
import type { StoreError } from './store/device-store.js'

/**
 * A client's read: under a shared lock, so that it waits for the writes that it overlaps and nobody ever sees bytes that
 * a failover could take back. Where the own device fails, the secondary's copy answers. At the moment of the answer the
 * leases of all other copies are held (design section 5, rule 3); until they are, or the record changes, it waits.
 */
export class PrimaryRead extends DeviceRequest implements CopyOwner, LeaseWaiter {
  #record: SliceRecord | undefined
  #target: Buffer | null = null
  /** What is answered is `#target`, which goes back when it has left. */
  #ownsBody = false
  #send: CopySend | null = null
  /** Read, and not to be shown before the leases are there. */
  #held: Buffer[] | null = null

  constructor(
    readonly session: Session,
    readonly frame: DataFrame,
  ) {
    super(session.device, frame.volume, frame.chunk)
    this.mapping = frame.mapping
    this.isApplication = true
  }

  start(): void {
    if (mutate('read-past-unfinished-writes')) this.lockAlone()
    this.beginShared(this.frame.offset, this.frame.length)
  }

  override lockGranted(): void {
    if (!this.#isAdmitted()) return
    const { volume, chunk, offset, pool, slice } = this.frame
    this.#record = this.session.context.view.record(pool, slice)
    this.#target = takePayload(this.frame.length)
    this.device.store.read(volume, chunk, offset, this.#target, error => this.#readDone(error))
  }

  override mapChanged(): void {
    if (this.#held !== null) this.leaseRenewed()
    if (this.#send === null) return
    this.#send.abandon()
    this.#send = null
    this.#readOther()
  }

  leaseRenewed(): void {
    const { leases } = this.session.context
    const body = this.#held!
    leases.forget(this)
    this.#held = null
    if (this.#isAdmitted()) this.#answer(body)
  }

  copyAnswered(_send: CopySend, status: number, reply: DataFrame | null): void {
    this.#send = null
    if (!this.#isAdmitted()) return
    if (status !== 0 || reply === null || reply.bodyBytes !== this.frame.length) {
      this.session.refuse(this.frame, 'MEDIA_ERROR')
      this.end()
      return
    }
    // Whatever becomes of this read, the range is to be mended.
    this.#answer(reply.body)
    repair(this.session.context, this.device, this.frame)
  }

  #readDone(error: StoreError | null): void {
    if (error !== null) {
      this.session.context.counters.mediaErrors++
      this.#readOther()
      return
    }
    // The record is looked at again now that the data is there: what another configuration may have changed since the
    // read began is not shown.
    const { view } = this.session.context
    if (view.record(this.frame.pool, this.frame.slice) !== this.#record && !this.#isAdmitted()) return
    this.#ownsBody = true
    this.#answer([this.#target!])
  }

  #readOther(): void {
    if (!this.#isAdmitted()) return
    const { context } = this.session
    const { pool, slice, epoch, volume, chunk, offset, length } = this.frame
    const record = context.view.record(pool, slice)!
    if (record.secondary === null || roleOf(record, this.device.id) !== 'primary') {
      this.session.refuse(this.frame, 'MEDIA_ERROR')
      this.end()
      return
    }
    const request = makeFrame({ opcode: opcodes.copyRead, pool, slice, epoch, volume, chunk, offset, length })
    this.#send = context.peers.send(this, record.secondary, request, true)
  }

  /** False: refused, and the lock is let go. */
  #isAdmitted(): boolean {
    const verdict = checkClientRequest(this.session.context, this.session, this.frame)
    if (verdict === 'admit') return true
    this.session.refuse(this.frame, verdict === 'park' ? 'NOT_READY' : verdict)
    this.end()
    return false
  }

  #answer(body: Buffer[]): void {
    const { counters, leases, view } = this.session.context
    if (!leases.holdsAll(view.record(this.frame.pool, this.frame.slice)!)) {
      this.#held = body
      leases.await(this)
      return
    }
    counters.reads++
    counters.readBytes += this.frame.length
    this.session.answer(this.frame, body, this.#ownsBody)
    if (this.#ownsBody) this.#givePass()
    this.end()
  }

  /** More reads of this chunk are answered below, until something changes. */
  #givePass(): void {
    const { device, frame, session } = this
    const { context } = session
    const place = device.store.placeOf(frame.volume, frame.chunk)
    if (place === null || !device.locks.areShared(this.lockKey)) return
    if (checkArrival(context, session, frame) !== 'admit') return
    const deadlines = context.leases.deadlinesOf(context.view.record(frame.pool, frame.slice)!)
    if (deadlines === null) return
    context.passes.give(session.connection, frame, place.disk, place.offsetBytes, deadlines, device.readsByPass)
  }
}
