import { chunkKey } from '../base/ids.js'
import { writeBelowBytesMax } from '../base/limits.js'
import { chunkBytes } from '../base/units.js'
import { roleOf } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { Clock, Timer, WritePass, WritePassOffer } from '../ports/index.js'
import { type DataFrame, opcodes } from '../wire/data.js'
import { checkArrival, checkCopyRequest } from './admission.js'
import { DeviceRequest } from './device-request.js'
import type { OwnDevice } from './own-device.js'
import type { Session } from './session.js'

/**
 * Up to so many lanes of a device are opened for all that was changed within a minute, and stay for a minute without
 * requests, as marks do: what pauses goes on at full speed. Beyond, only what is changed all the time is worth one.
 */
const lanesKept = 1_024
const whileFew = { recentMs: 60_000, idleLooksMax: 30 }
const whileMany = { recentMs: 1_000, idleLooksMax: 1 }
/** Between two looks for lanes without requests, and how many end then: the others wait for a later one, as the event loop does not. */
const lookMs = 2_000
const endedAtOnce = 512
/** How long what is called back waits for the other copy, before all that it has not answered is sent again. */
const graceMs = 200
const lanesMax = 8_192

/** A request that goes on with what was begun. */
export type HeirOf = (session: Session, frame: DataFrame) => DeviceRequest

/** Whether the chunk is worth a lane; to be asked before the change that would be followed by it. */
export function isWorthLane({ context, device }: Session, frame: DataFrame): boolean {
  const { volume, chunk, flags, length } = frame
  if (flags !== 0 || length > writeBelowBytesMax) return false
  const touch = device.store.touchOf(volume, chunk)
  // 0: it has no mark.
  return touch === null || (touch > 0 && context.clock.nowMs() - touch < worthOf(device).recentMs)
}

const isAdmitted = (session: Session, frame: DataFrame): boolean =>
  (frame.opcode === opcodes.write ? checkArrival : checkCopyRequest)(session.context, session, frame) === 'admit'

const worthOf = ({ lanes }: OwnDevice) => (lanes.size < lanesKept ? whileFew : whileMany)

/** Looks after all lanes of a device at once: a timer for each of 512 took 2% of an SDS's time. */
function watch(device: OwnDevice, clock: Clock): void {
  device.laneWatch ??= clock.setTimer(lookMs, () => {
    device.laneWatch = null
    const { idleLooksMax } = worthOf(device)
    let left = endedAtOnce
    for (const lane of device.lanes) if (lane.look() >= idleLooksMax && left-- > 0) lane.callBack()
    if (device.lanes.size > 0) watch(device, clock)
  })
}

/**
 * One chunk whose writes on one session are carried out below TypeScript (ports/write-passes.ts): those of a client at the
 * primary, with its reads, or those of the primary at another copy. To everybody here it is a change of the whole chunk that
 * does not end by itself: the chunk is locked and marked for it, and whoever else wants something of the chunk calls it back and
 * waits for its end. What is unfinished then is finished before.
 */
export class Lane extends DeviceRequest {
  #pass: WritePass | null = null
  #isCalledBack = false
  /** How long its end takes. */
  #grace: Timer | null = null
  readonly #record: SliceRecord
  readonly #isPrimary: boolean
  /** The write that it was opened for, without its payload. */
  readonly #like: DataFrame
  /** At the last look; -1: there was none yet. */
  #doneBefore = -1
  #idleLooks = 0

  private constructor(
    readonly session: Session,
    frame: DataFrame,
    record: SliceRecord,
    readonly heirOf: HeirOf,
  ) {
    super(session.device, frame.volume, frame.chunk)
    this.#record = record
    this.#like = { ...frame, body: [] }
    this.#isPrimary = frame.opcode === opcodes.write
    this.mapping = frame.mapping
  }

  /** A write like this one has been carried out on all copies that there are. `heirOf`: who finishes what is unfinished. */
  static open(session: Session, frame: DataFrame, heirOf: HeirOf): void {
    const { context, device } = session
    if (session.isEnded || context.isStopping || device.lanes.size >= lanesMax) return
    // What waits for the map is in no queue of locks: nothing may overtake it.
    if (session.parked.length > 0) return
    if (!device.store.takesLanes(context.writePasses, frame)) return
    // Nobody has or waits for anything of the chunk.
    if (!device.locks.isFree(chunkKey(frame.volume, frame.chunk))) return
    const isPrimary = frame.opcode === opcodes.write
    if (!isAdmitted(session, frame)) return
    const record = context.view.record(frame.pool, frame.slice)!
    // What fills a joining copy must find it; and what has one copy may get another one soon.
    if (record.joining !== null || record.secondary === null) return
    if (!isPrimary && roleOf(record, device.id) !== 'secondary') return
    const connection = isPrimary ? context.peers.of(record.secondary).upConnection : null
    if (isPrimary && connection === null) return
    const lane = new Lane(session, frame, record, heirOf)
    lane.beginExclusive(0, chunkBytes)
    lane.#begin(frame, connection && { connection, mapVersion: context.view.version })
  }

  /** Has the lock at once, as the chunk was free. */
  override lockGranted(): void {}

  #begin(request: DataFrame, peer: WritePassOffer['peer']): void {
    const { device, session } = this
    const { context, connection } = session
    const deadlines = context.leases.deadlinesOf(this.#record)
    const place = deadlines && device.store.openLane(this.volume, this.chunk)
    if (deadlines === null || place === null) {
      this.end()
      return
    }
    this.#pass = context.writePasses.give({
      connection,
      request,
      disk: place.disk,
      chunkAtBytes: place.offsetBytes,
      tallies: [device.writesByPass, this.#isPrimary ? context.lanes.writes : context.lanes.copies],
      readTallies: [device.readsByPass, context.passes.total],
      peer,
      deadlines,
      ended: (unfinished, errno) => this.#ended(unfinished, errno),
    })
    if (this.#pass === null) {
      device.store.closeLane(this.volume, this.chunk)
      this.end()
      return
    }
    device.lanes.add(this)
    watch(device, context.clock)
  }

  get slice(): { pool: number; record: SliceRecord } {
    return { pool: this.#like.pool, record: this.#record }
  }

  /** How many looks in turn have found that nothing was done since the one before. To be called every `lookMs`. */
  look(): number {
    if (this.#isCalledBack) return 0
    const { done } = this.#pass!
    this.#idleLooks = done === this.#doneBefore ? this.#idleLooks + 1 : 0
    this.#doneBefore = done
    return this.#idleLooks
  }

  override lockWanted(): void {
    this.callBack()
  }

  override mapChanged(): void {
    const isSame = this.session.context.view.record(this.#like.pool, this.#record.slice) === this.#record
    if (isSame && isAdmitted(this.session, this.#like)) return
    this.callBack()
    // The other copy may not answer any more.
    if (!isSame) this.#pass!.cut()
  }

  callBack(): void {
    if (this.#isCalledBack) return
    this.#isCalledBack = true
    this.#grace = this.session.context.clock.setTimer(graceMs, () => this.#pass!.cut())
    this.#pass!.end()
  }

  /** Who finishes what is unfinished has the lock of it next: nobody sees a part of it that is not whole everywhere. */
  #ended(unfinished: DataFrame[], errno: string | null): void {
    this.#isCalledBack = true
    this.#grace?.cancel()
    if (errno !== null) this.device.store.changeFailed(errno)
    const heirs: DeviceRequest[] = []
    for (const frame of unfinished) {
      this.session.handedOver(frame)
      const heir = this.heirOf(this.session, frame)
      heirs.push(heir)
      // A mapping that was removed is not gone before what was begun under it.
      heir.gate = this.gate
      this.gate?.add()
    }
    this.device.lanes.delete(this)
    if (this.device.lanes.size === 0) {
      this.device.laneWatch?.cancel()
      this.device.laneWatch = null
    }
    this.device.store.closeLane(this.volume, this.chunk)
    this.end(heirs)
  }
}
