import { assert } from '../../base/assert.js'
import type { DeviceId, SystemId } from '../../base/ids.js'
import { chunkBytes } from '../../base/units.js'
import {
  type ChunkKind,
  type ChunkTable,
  chunkIndexKey,
  chunkValue,
  epochKey,
  filledEntry,
  fillingEntry,
  isFilling,
  isMapped,
  isReserved,
  isThick,
  reservedEntry,
  type SlotTable,
  slotOf,
  slotOffsetOf,
  unfilledEntry,
  type VolumeChunks,
} from '../../core/store/index.js'
import type { Clock, Disk, MetaStore } from '../../ports/index.js'
import { Activity } from './activity.js'
import { isAligned, readPart, writePart, zeroPart } from './block-io.js'
import { ChangeGate } from './change-gate.js'
import type { DeviceStore, StoreDone, StoreError, StoreUsage } from './device-store.js'
import { dropChunks } from './drop-volume.js'
import { Eraser } from './eraser.js'
import { GroupSync } from './group-sync.js'
import { Health } from './health.js'
import { IndexWriter } from './index-writer.js'
import { ChangeRequest, ReadRequest, Spare } from './requests.js'

/** What opening a device found. */
export interface OpenedDevice {
  disk: Disk
  index: MetaStore
  clock: Clock
  deviceId: DeviceId
  systemId: SystemId
  bootId: string
  slots: SlotTable
  chunks: ChunkTable
  thinChunks: number
  thickChunks: number
  epochMax: number
  opened: { cleanStop: boolean; sameBoot: boolean }
  onFailed(reason: string): void
}

const shuttingDown: StoreError = { kind: 'media', errno: 'ESHUTDOWN' }

/** The store of one open device. No `done` is called before the call that it was given to has returned. */
export class ChunkStore implements DeviceStore {
  readonly deviceId: DeviceId
  readonly systemId: SystemId
  readonly path: string
  readonly capacityBytes: number
  readonly opened: { cleanStop: boolean; sameBoot: boolean }

  private readonly disk: Disk
  private readonly slots: SlotTable
  private readonly table: ChunkTable
  private readonly counts = { thin: 0, thick: 0 }
  private limits = { thin: Number.POSITIVE_INFINITY, thick: Number.POSITIVE_INFINITY }
  private epoch: number

  private readonly health: Health
  private readonly activity = new Activity()
  private readonly index: IndexWriter
  private readonly groupSync: GroupSync
  private readonly gate: ChangeGate
  private readonly eraser: Eraser
  private closing: Promise<void> | null = null

  private readonly reads = new Spare(() => new ReadRequest((read, errno) => this.finishRead(read, errno)))
  private readonly changes = new Spare(() => new ChangeRequest(change => this.finishPart(change)))
  /** Changes that wait until their chunk's slot is erased. */
  private readonly waitingForSlot = new Map<number, ChangeRequest>()
  private answers: { done: StoreDone; error: StoreError | null }[] = []

  constructor(private readonly device: OpenedDevice) {
    const { disk, index, clock, slots } = device
    this.deviceId = device.deviceId
    this.systemId = device.systemId
    this.path = disk.path
    this.capacityBytes = slots.slotCount * chunkBytes
    this.opened = device.opened
    this.disk = disk
    this.slots = slots
    this.table = device.chunks
    this.counts = { thin: device.thinChunks, thick: device.thickChunks }
    this.epoch = device.epochMax
    this.health = new Health(reason => this.fail(reason))
    this.index = new IndexWriter(index, clock)
    this.groupSync = new GroupSync(disk, this.index, this.health)
    const open = !device.opened.cleanStop && device.opened.sameBoot
    const { health, groupSync: sync, activity } = this
    this.gate = new ChangeGate({ slots, index: this.index, sync, health, activity, bootId: device.bootId, open })
    const onReady = (slot: number) => this.slotReady(slot)
    this.eraser = new Eraser({ disk, index: this.index, slots, clock, health, activity, onReady })
    if (slots.dirtyCount > 0) this.eraser.kick()
  }

  get failed(): string | null {
    return this.health.failed
  }

  get dirty(): boolean {
    return this.gate.isOpen
  }

  usage(): StoreUsage {
    const { thin, thick } = this.counts
    return {
      slotsTotal: this.slots.slotCount,
      slotsUsed: this.slots.claimedCount,
      thinChunks: thin,
      thickChunks: thick,
    }
  }

  /** True once a reserved chunk's first write or zeroing has completed. */
  has(volume: number, chunk: number): boolean {
    const chunks = this.find(volume)
    return chunks !== undefined && isMapped(chunks.get(chunk))
  }

  chunksOf(volume: number, first: number, end: number, step: number): number[] {
    return this.find(volume)?.mappedChunks(first, end, step) ?? []
  }

  volumes(): number[] {
    return this.table.volumes()
  }

  setLimits(limits: { thinChunksMax: number; thickChunksMax: number }): void {
    this.limits = { thin: limits.thinChunksMax, thick: limits.thickChunksMax }
  }

  /** A chunk that has or has reserved a slot keeps it. The slot may still be on its way to zeroes: then `write` waits. */
  reserve(volume: number, chunk: number, kind: ChunkKind, useSpare: boolean): boolean {
    const chunks = this.table.open(volume)
    if (chunks.dropping || this.closing !== null) return false
    if (chunks.get(chunk) !== 0) return true
    if (!useSpare && this.counts[kind] >= this.limits[kind]) return false
    const slot = this.slots.claim()
    if (slot < 0) return false
    chunks.set(chunk, reservedEntry(slot, kind))
    this.counts[kind]++
    if (!this.slots.isReady(slot)) this.eraser.kick()
    return true
  }

  read(volume: number, chunk: number, offset: number, target: Buffer, done: StoreDone): void {
    assert(offset >= 0 && offset + target.length <= chunkBytes, 'a read stays within its chunk')
    if (this.closing !== null) {
      this.answer(done, shuttingDown)
      return
    }
    const chunks = this.find(volume)
    const entry = chunks === undefined ? 0 : chunks.get(chunk)
    if (!isMapped(entry)) {
      target.fill(0)
      this.answer(done, null)
      return
    }
    const read = this.reads.take()
    read.chunks = chunks!
    read.done = done
    chunks!.busyNow++
    this.activity.enter()
    const base = slotOffsetOf(slotOf(entry))
    if (isAligned(this.disk, offset, target.length)) this.disk.read(base + offset, target, read.onDisk)
    else readPart(this.disk, base, offset, target, read.onDisk)
  }

  write(volume: number, chunk: number, offset: number, pieces: readonly Buffer[], done: StoreDone): void {
    let length = 0
    for (let at = 0; at < pieces.length; at++) length += pieces[at]!.length
    this.change(volume, chunk, offset, length, pieces, done)
  }

  zero(volume: number, chunk: number, offset: number, length: number, done: StoreDone): void {
    this.change(volume, chunk, offset, length, null, done)
  }

  remove(volume: number, chunk: number, done: StoreDone): void {
    const chunks = this.find(volume)
    const entry = chunks === undefined ? 0 : chunks.get(chunk)
    const refusal = this.refusal()
    if (refusal !== null) {
      this.answer(done, refusal)
      return
    }
    if (entry === 0) {
      this.answer(done, null)
      return
    }
    assert(!isFilling(entry), 'a chunk is not removed while it is being filled')
    if (isReserved(entry)) {
      this.freeUnmapped(chunks!, chunk)
      this.answer(done, null)
      return
    }
    if (!this.gate.isOpen) {
      this.gate.wait(() => this.remove(volume, chunk, done))
      return
    }
    this.beginWork(chunks!)
    this.index.drop(chunkIndexKey(volume, chunk), text => {
      if (text === null) this.freeMapped(chunks!, chunk)
      this.endWork(chunks!)
      done(text === null ? null : { kind: 'meta', text })
    })
  }

  dropVolume(volume: number, done: StoreDone): void {
    const chunks = this.find(volume)
    const refusal = this.refusal()
    if (refusal !== null) {
      this.answer(done, refusal)
      return
    }
    if (chunks === undefined) {
      this.answer(done, null)
      return
    }
    if (!this.gate.isOpen) {
      this.gate.wait(() => this.dropVolume(volume, done))
      return
    }
    chunks.dropping = true
    this.activity.enter()
    this.gate.begin()
    dropChunks({
      chunks,
      index: this.index,
      clock: this.device.clock,
      refusal: () => this.refusal(),
      freeUnmapped: chunk => this.freeUnmapped(chunks, chunk),
      freeMapped: chunk => this.freeMapped(chunks, chunk),
      done: error => {
        if (error === null) this.table.forget(volume)
        chunks.dropping = false
        this.groupSync.noteChange()
        this.gate.end()
        this.activity.leave()
        done(error)
      },
    })
  }

  sync(done: StoreDone): void {
    const refusal = this.refusal()
    if (refusal !== null) {
      this.answer(done, refusal)
      return
    }
    if (this.groupSync.idle) {
      this.answer(done, null)
      return
    }
    this.activity.enter()
    this.groupSync.request(error => {
      this.activity.leave()
      done(error)
    })
  }

  adoptEpoch(pool: number, slice: number, epoch: number): void {
    if (epoch > this.epoch) this.epoch = epoch
    if (this.refusal() !== null) return
    this.groupSync.noteChange()
    this.activity.enter()
    this.index.put(epochKey(pool, slice), epoch, text => {
      this.activity.leave()
      if (text !== null) this.health.indexFailed(text)
    })
  }

  epochMax(): number {
    return this.epoch
  }

  markClean(done: StoreDone): void {
    const refusal = this.refusal()
    if (refusal !== null) {
      this.answer(done, refusal)
      return
    }
    this.activity.enter()
    this.gate.markClean(error => {
      this.activity.leave()
      done(error)
    })
  }

  close(): Promise<void> {
    this.closing ??= this.closeNow()
    return this.closing
  }

  private async closeNow(): Promise<void> {
    this.eraser.stop()
    await this.activity.idle()
    await this.device.index.close()
    await this.disk.close()
  }

  private change(
    volume: number,
    chunk: number,
    offset: number,
    length: number,
    pieces: readonly Buffer[] | null,
    done: StoreDone,
  ): void {
    assert(length > 0 && offset >= 0 && offset + length <= chunkBytes, 'a change stays within its chunk')
    const refusal = this.refusal()
    if (refusal !== null) {
      this.answer(done, refusal)
      return
    }
    if (!this.gate.isOpen) {
      this.gate.wait(() => this.change(volume, chunk, offset, length, pieces, done))
      return
    }
    const chunks = this.find(volume)
    if (chunks === undefined) {
      this.answer(done, { kind: 'meta', text: `volume ${volume} has been dropped` })
      return
    }
    const entry = chunks.get(chunk)
    assert(entry !== 0, 'a chunk that is changed has or has reserved a slot')
    assert(!isFilling(entry), 'nothing else touches a chunk while it is being filled')
    const change = this.changes.take()
    change.chunks = chunks
    change.chunk = chunk
    change.slot = slotOf(entry)
    change.offset = offset
    change.length = length
    change.pieces = pieces
    change.done = done
    this.beginWork(chunks)
    if (!isReserved(entry)) {
      this.begin(change, false)
      return
    }
    if (this.slots.isReady(change.slot)) {
      this.begin(change, true)
      return
    }
    assert(!this.waitingForSlot.has(change.slot), 'one change fills a chunk')
    this.waitingForSlot.set(change.slot, change)
    this.eraser.kick()
  }

  /** Data and index entry side by side: the slot is zero until the data are there, so either may come first. */
  private begin(change: ChangeRequest, filling: boolean): void {
    const { slot, offset, length, pieces } = change
    const chunks = change.chunks!
    const fresh = filling && this.slots.isErased(slot)
    change.filling = filling
    change.partsLeft = Number(filling) + Number(!(fresh && pieces === null))
    if (filling) {
      const entry = chunks.get(change.chunk)
      chunks.set(change.chunk, fillingEntry(entry))
      if (fresh) this.slots.fill(slot)
      const value = chunkValue(slot, isThick(entry) ? 'thick' : 'thin')
      this.index.put(chunkIndexKey(chunks.volume, change.chunk), value, change.onIndex)
    }
    const base = slotOffsetOf(slot)
    if (pieces !== null) writePart(this.disk, base, offset, length, pieces, fresh, change.onDisk)
    else if (!fresh) zeroPart(this.disk, base, offset, length, change.onDisk)
  }

  private slotReady(slot: number): void {
    const change = this.waitingForSlot.get(slot)
    if (change === undefined) return
    this.waitingForSlot.delete(slot)
    this.begin(change, true)
  }

  private finishPart(change: ChangeRequest): void {
    change.partsLeft--
    if (change.partsLeft > 0) return
    const { done, error, filling, chunk } = change
    const chunks = change.chunks!
    if (filling) {
      const entry = chunks.get(chunk)
      chunks.set(chunk, change.indexError === null ? filledEntry(entry) : unfilledEntry(entry))
    }
    const { mediaError } = change
    change.mediaError = null
    change.indexError = null
    change.pieces = null
    this.changes.give(change)
    this.endWork(chunks)
    if (mediaError !== null) this.health.mediaFailed(mediaError)
    done(error)
  }

  private finishRead(read: ReadRequest, errno: string | null): void {
    const { done } = read
    read.chunks!.busyNow--
    this.reads.give(read)
    this.activity.leave()
    done(errno === null ? null : { kind: 'media', errno })
  }

  private freeUnmapped(chunks: VolumeChunks, chunk: number): void {
    const entry = chunks.get(chunk)
    const slot = slotOf(entry)
    this.forget(chunks, chunk)
    // Data may lie in it, if its index entry could not be made: then it is as good as removed.
    if (this.slots.isReady(slot) && !this.slots.isErased(slot)) this.vacate(slot)
    else this.slots.release(slot)
  }

  private freeMapped(chunks: VolumeChunks, chunk: number): void {
    const slot = slotOf(chunks.get(chunk))
    this.forget(chunks, chunk)
    this.vacate(slot)
  }

  private forget(chunks: VolumeChunks, chunk: number): void {
    this.counts[isThick(chunks.get(chunk)) ? 'thick' : 'thin']--
    chunks.set(chunk, 0)
  }

  private vacate(slot: number): void {
    this.slots.vacate(slot)
    this.eraser.kick()
  }

  private find(volume: number): VolumeChunks | undefined {
    const chunks = this.table.find(volume)
    return chunks === undefined || chunks.dropping ? undefined : chunks
  }

  private beginWork(chunks: VolumeChunks): void {
    chunks.busyNow++
    this.activity.enter()
    this.gate.begin()
  }

  private endWork(chunks: VolumeChunks): void {
    chunks.busyNow--
    this.groupSync.noteChange()
    this.gate.end()
    this.activity.leave()
  }

  private refusal(): StoreError | null {
    return this.closing !== null ? shuttingDown : this.health.error
  }

  /** Answers at the end of the turn, with whatever else has its answer at once. */
  private answer(done: StoreDone, error: StoreError | null): void {
    this.answers.push({ done, error })
    if (this.answers.length > 1) return
    this.activity.enter()
    this.device.clock.endOfTurn(() => {
      const answers = this.answers
      this.answers = []
      this.activity.leave()
      for (const { done, error } of answers) done(error)
    })
  }

  private fail(reason: string): void {
    for (const change of this.waitingForSlot.values()) {
      change.partsLeft = 1
      change.filling = false
      const error = this.health.error!
      if (error.kind === 'media') change.onDisk(error.errno)
      else change.onIndex(reason)
    }
    this.waitingForSlot.clear()
    this.device.onFailed(reason)
  }
}
