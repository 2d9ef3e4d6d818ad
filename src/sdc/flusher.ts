import { errorCodeOfWire, errorTable } from '../base/errors.js'
import { type DeviceId, numberOfId, type PoolId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { copiesOf, type SliceRecord } from '../model/index.js'
import { type DataFrame, makeFrame, opcodes } from '../wire/data.js'
import type { DataPath } from './data-path.js'
import type { DeviceSession, SessionItem } from './device-session.js'
import type { FlushFile } from './flush-file.js'

export interface FlusherOwner {
  readonly path: DataPath
  readonly poolId: PoolId
  readonly volumeNumber: number
  readonly mappingNumber: number
  readonly notes: FlushFile
  readonly isClosed: boolean
  /** True while others may write to the volume, too: every slice counts as written. */
  readonly isShared: boolean
}

export type FlushDone = (outcome: 'done' | 'failed' | 'lost') => void

const retryMsMin = 10
const retryMsMax = 500
/** How often a copy may refuse for a reason that goes on without an end in sight, before the flush fails. */
const triesMax = 40

/**
 * FLUSH of one mapping (design section 4). One run at a time; what comes meanwhile waits for the next one, so that a run
 * only serves flushes that came before it began. A run asks every copy of each slice's current record, and asks again
 * where a record changed before all of its copies had answered.
 */
export class Flusher {
  #running: FlushRun | null = null
  #runningFor: FlushDone[] = []
  #waitingFor: FlushDone[] = []
  /** Others may have written since the run began. */
  #othersMayWrite = false
  readonly #known: KnownEpochs
  /** For the metrics. */
  lossesReported = 0

  constructor(readonly owner: FlusherOwner) {
    this.#known = { version: null, epochs: new Uint32Array(owner.notes.dirty.sliceCount) }
  }

  /** `done` is called when everything answered before this call is durable on all copies, or cannot be made so. */
  flush(done: FlushDone): void {
    this.#waitingFor.push(done)
    if (this.#running === null) this.owner.path.host.clock.endOfTurn(() => this.#begin())
  }

  onMapChange(): void {
    if (this.owner.isShared) this.#othersMayWrite = true
    this.#running?.onMapChange()
  }

  /** The volume goes away: nothing waits any more. */
  close(): void {
    this.#running?.abandon()
    this.#running = null
    const all = [...this.#runningFor.splice(0), ...this.#waitingFor.splice(0)]
    for (const done of all) done('failed')
  }

  #begin(): void {
    if (this.#running !== null || this.#waitingFor.length === 0) return
    this.#runningFor = this.#waitingFor.splice(0)
    const every = this.owner.notes.othersWrote
    this.#othersMayWrite = this.owner.isShared
    const run = new FlushRun(this.owner, this.#known, outcome => this.#end(run, outcome, every))
    this.#running = run
    run.start(every)
  }

  #end(run: FlushRun, outcome: 'done' | 'failed' | 'lost', every: boolean): void {
    if (this.#running !== run) return
    this.#running = null
    if (outcome === 'done' && every && !this.#othersMayWrite) this.owner.notes.othersFlushed()
    const answered = this.#runningFor.splice(0)
    if (outcome === 'lost') {
      this.lossesReported++
      // What waits came before the loss was reported, and would otherwise never hear of it.
      answered.push(...this.#waitingFor.splice(0))
    }
    for (const done of answered) done(outcome)
    if (this.#waitingFor.length > 0) this.#begin()
  }
}

/** The epochs of all slices at the last flush that succeeded, and the version of the map that has them; null: none has. */
interface KnownEpochs {
  version: number | null
  readonly epochs: Uint32Array
}

/** One slice of a run. */
interface FlushSlice {
  slice: number
  /** The record that was asked; 0: has to be asked (again). */
  epoch: number
  /** Counts up with each asking, so that answers to earlier ones do not count. */
  round: number
  copiesLeft: number
}

class FlushRun {
  readonly #left = new Map<number, FlushSlice>()
  readonly #asks = new Set<FlushAsk>()
  /** Of the map, at the start. */
  #version = 0
  /** False: since the last flush no slice can have moved but by this one. */
  #othersMoved = true
  /** Slices that had to be flushed. */
  #covered: readonly number[] = []
  /** The last known flush of a slice is now one of another epoch. */
  #epochMoved = false
  #round = 0
  #tries = 0
  #scheduled = false
  #over = false

  constructor(
    readonly owner: FlusherOwner,
    readonly known: KnownEpochs,
    readonly onEnd: (outcome: 'done' | 'failed' | 'lost') => void,
  ) {}

  get #path(): DataPath {
    return this.owner.path
  }

  start(every: boolean): void {
    const { dirty } = this.owner.notes
    this.#version = this.#path.host.map.version
    this.#othersMoved = this.known.version !== this.#version
    if (this.#othersMoved) this.#takeEpochs()
    this.known.version = null
    this.#covered = dirty.beginFlush(every)
    for (const slice of this.#covered) this.#left.set(slice, { slice, epoch: 0, round: 0, copiesLeft: 0 })
    this.#askAll()
  }

  /** One look-up for all: there may be many slices. */
  #takeEpochs(): void {
    const { epochs } = this.known
    const records = this.#path.host.map.slices.get(this.owner.poolId) ?? []
    for (let slice = 0; slice < epochs.length; slice++) epochs[slice] = records[slice]?.epoch ?? 0
  }

  onMapChange(): void {
    for (const ask of [...this.#asks]) if (ask.slices.every(slice => this.#isObsolete(slice, ask))) this.#giveUp(ask)
    this.#askSoon()
  }

  /** Ends without an outcome. */
  abandon(): void {
    if (this.#over) return
    this.#over = true
    this.#dropAsks()
    this.owner.notes.dirty.finishFlush(null)
    this.owner.notes.noteBehind()
  }

  answered(ask: FlushAsk, frame: DataFrame): void {
    if (this.#over) return
    this.#asks.delete(ask)
    if (frame.status === 0) {
      for (const slice of ask.slices) this.#copyDone(slice, ask.round)
      this.#askSoon()
      return
    }
    const code = errorCodeOfWire(frame.status)
    if (code === 'STALE_EPOCH') {
      const { version } = this.#path.host.map
      this.#path.learn(frame)
      this.#again(ask)
      // Nothing new: the map will come from the MDM.
      if (this.#path.host.map.version === version) this.#askLater()
      else this.#askSoon()
    } else if (errorTable[code].retry || (code === 'NOT_MAPPED' && this.#tries < triesMax)) {
      this.#again(ask)
      this.#askLater()
    } else {
      const { deviceId } = ask
      this.#path.host.log.error('flush.failed', { volume: this.owner.volumeNumber, deviceId, code })
      this.#end('failed')
    }
  }

  #copyDone(slice: FlushSlice, round: number): void {
    if (slice.round !== round || slice.epoch === 0) return
    slice.copiesLeft--
    if (slice.copiesLeft > 0) return
    // The copies of an older record have it; those of the new one may be others.
    if (this.#epochOf(slice.slice) !== slice.epoch) slice.epoch = 0
    else {
      this.known.epochs[slice.slice] = slice.epoch
      if (this.owner.notes.dirty.flushedEpoch(slice.slice) !== slice.epoch) this.#epochMoved = true
      this.owner.notes.dirty.sliceFlushed(slice.slice, slice.epoch)
      this.#left.delete(slice.slice)
    }
  }

  /** The answer for this slice no longer matters: it has been, or will be, asked again. */
  #isObsolete(slice: FlushSlice, ask: FlushAsk): boolean {
    return slice.round !== ask.round || slice.epoch !== this.#epochOf(slice.slice)
  }

  #again(ask: FlushAsk): void {
    for (const slice of ask.slices) if (slice.round === ask.round) slice.epoch = 0
  }

  #giveUp(ask: FlushAsk): void {
    this.#asks.delete(ask)
    ask.takeBack()
    this.#again(ask)
  }

  /** Asks for everything that has to be asked, one request for each device. */
  #askAll(): void {
    if (this.#over) return
    if (this.#reportLoss()) return
    if (this.#left.size === 0) {
      this.#end('done')
      return
    }
    const perDevice = new Map<DeviceId, FlushSlice[]>()
    this.#round++
    for (const slice of this.#left.values()) {
      if (slice.epoch !== 0) continue
      const record = this.#path.recordOf(this.owner.poolId, slice.slice)
      if (record === undefined) continue
      const copies = mutate('flush-the-primary-only') ? [record.primary] : copiesOf(record)
      slice.epoch = record.epoch
      slice.round = this.#round
      slice.copiesLeft = copies.length
      for (const deviceId of copies) {
        const slices = perDevice.get(deviceId)
        if (slices === undefined) perDevice.set(deviceId, [slice])
        else slices.push(slice)
      }
    }
    for (const [deviceId, slices] of perDevice) {
      const ask = new FlushAsk(this, deviceId, slices, this.#round)
      this.#asks.add(ask)
      this.#path.ask(deviceId, ask)
    }
  }

  #reportLoss(): boolean {
    const { dirty } = this.owner.notes
    const records = this.#path.host.map.slices.get(this.owner.poolId) ?? []
    if (!this.#hasLost(records)) return false
    if (mutate('answer-FLUSH-after-a-loss')) return false
    const lossEpochs = Uint32Array.from({ length: dirty.sliceCount }, (_, slice) => records[slice]?.lossEpoch ?? 0)
    this.#over = true
    this.#dropAsks()
    dirty.reportLosses(lossEpochs)
    // The file keeps the loss until a later flush succeeds: if this process ends before the error has left, the next one
    // reports it. Twice is better than never.
    this.owner.notes.noteBehind()
    this.#path.host.log.error('flush.lost', { volume: this.owner.volumeNumber })
    this.onEnd('lost')
    return true
  }

  /** What is flushed, or was clean, has nothing to lose. */
  #hasLost(records: readonly SliceRecord[]): boolean {
    const { dirty } = this.owner.notes
    for (const slice of this.#left.keys()) {
      const record = records[slice]
      if (record !== undefined && dirty.hasLost(slice, record.lossEpoch)) return true
    }
    return false
  }

  #askSoon(): void {
    if (this.#scheduled || this.#over) return
    this.#scheduled = true
    this.#path.host.clock.endOfTurn(() => {
      this.#scheduled = false
      this.#askAll()
    })
  }

  #askLater(): void {
    if (this.#scheduled || this.#over) return
    this.#scheduled = true
    const delayMs = Math.min(retryMsMax, retryMsMin * 2 ** Math.min(this.#tries++, 10))
    this.#path.host.clock.setTimer(delayMs, () => {
      this.#scheduled = false
      this.#askAll()
    })
  }

  #end(outcome: 'done' | 'failed'): void {
    const { notes } = this.owner
    this.#over = true
    this.#dropAsks()
    const isDone = outcome === 'done'
    const epochsChanged =
      notes.dirty.finishFlush(isDone ? this.known.epochs : null, this.#othersMoved) || this.#epochMoved
    // An epoch that moved meanwhile may be one that this run has seen, or not.
    if (isDone && this.#path.host.map.version === this.#version) this.known.version = this.#version
    if (!isDone) notes.noteBehind()
    else if (epochsChanged) notes.rewrite()
    else notes.flushed(this.#covered)
    this.onEnd(outcome)
  }

  #dropAsks(): void {
    for (const ask of this.#asks) ask.takeBack()
    this.#asks.clear()
  }

  #epochOf(slice: number): number {
    return this.#path.recordOf(this.owner.poolId, slice)?.epoch ?? 0
  }
}

/** The request to one device. */
class FlushAsk implements SessionItem {
  keptBy: DeviceSession | null = null
  keptNext: SessionItem | null = null
  keptBefore: SessionItem | null = null
  requestId = 0
  readonly hasPayload = false
  readonly #body: Buffer

  constructor(
    readonly run: FlushRun,
    readonly deviceId: DeviceId,
    readonly slices: FlushSlice[],
    readonly round: number,
  ) {
    this.#body = Buffer.alloc(8 * slices.length)
    slices.forEach(({ slice, epoch }, index) => {
      this.#body.writeUInt32BE(slice, 8 * index)
      this.#body.writeUInt32BE(epoch, 8 * index + 4)
    })
  }

  frameFor(requestId: number): DataFrame {
    const { owner } = this.run
    return makeFrame({
      opcode: opcodes.flush,
      requestId,
      mapping: owner.mappingNumber,
      volume: owner.volumeNumber,
      pool: numberOfId(owner.poolId),
      mapVersion: owner.path.host.map.version,
      body: [this.#body],
    })
  }

  onAnswer(frame: DataFrame): void {
    this.run.answered(this, frame)
  }

  get resend(): boolean {
    return !this.run.owner.isClosed
  }
  onDropped(): void {}

  takeBack(): void {
    this.keptBy?.takeBack(this)
  }
}
