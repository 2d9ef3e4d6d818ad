import { assert } from '../../base/assert.js'
import { StorageError } from '../../base/errors.js'
import type { DeviceId, SystemId } from '../../base/ids.js'
import { mutate } from '../../base/mutation.js'
import { chunkBytes } from '../../base/units.js'
import {
  bootLost,
  type ChunkKind,
  epochKey,
  epochValue,
  type IdleMark,
  IdleMarks,
  indexKeys,
  isFilling,
  isMapped,
  isReserved,
  type KnownEpoch,
  parseEpoch,
  slotCountFor,
  slotOf,
  slotOffsetOf,
} from '../../core/store/index.js'
import type { Clock, Disk, MetaStore, WritePasses } from '../../ports/index.js'
import { Activity } from './activity.js'
import { Answers } from './answers.js'
import { isAligned, readPart } from './block-io.js'
import { ChangeGate } from './change-gate.js'
import { Changes } from './changes.js'
import { ChunkMap, type ChunkMapParts } from './chunk-map.js'
import type { DeviceStore, StoreDone, StoreError, StoreUsage } from './device-store.js'
import { dropChunks } from './drop-volume.js'
import { Eraser } from './eraser.js'
import { GroupSync } from './group-sync.js'
import { Health } from './health.js'
import { IndexWriter } from './index-writer.js'
import { writeLabel } from './label.js'
import { Marks } from './marks.js'
import { ReadRequest, Spare } from './requests.js'
import { indexRoomLack } from './steps.js'

/** What opening a device found. */
export interface OpenedDevice extends ChunkMapParts {
  disk: Disk
  index: MetaStore
  clock: Clock
  deviceId: DeviceId
  systemId: SystemId
  bootId: string
  epochMax: number
  /** Of the superblock. */
  counter: number
  opened: { cleanStop: boolean; sameBoot: boolean }
  onFailed(reason: string): void
}

const shuttingDown: StoreError = { kind: 'media', errno: 'ESHUTDOWN' }

/** The store of one open device. No `done` is called before the call that it was given to has returned. */
export class ChunkStore implements DeviceStore {
  readonly deviceId: DeviceId
  readonly systemId: SystemId
  readonly path: string
  readonly opened: { cleanStop: boolean; sameBoot: boolean }

  writesByPass = () => 0

  private readonly disk: Disk
  private readonly map: ChunkMap
  private readonly health: Health
  private readonly activity = new Activity()
  private readonly answers: Answers
  private readonly index: IndexWriter
  private readonly groupSync: GroupSync
  private readonly gate: ChangeGate
  private readonly eraser: Eraser
  private readonly changes: Changes
  private readonly marks: Marks
  private readonly idleRound: IdleMarks
  private readonly reads = new Spare(() => new ReadRequest((read, errno) => this.finishRead(read, errno)))
  private epoch: number
  private closing: Promise<void> | null = null

  constructor(private readonly device: OpenedDevice) {
    const { disk, clock, slots, chunks, bootId, opened } = device
    this.deviceId = device.deviceId
    this.systemId = device.systemId
    this.path = disk.path
    this.opened = opened
    this.disk = disk
    this.epoch = device.epochMax
    this.map = new ChunkMap(device)
    this.health = new Health({ onFailed: reason => this.fail(reason), onLoss: () => this.noteLoss() })
    this.index = new IndexWriter(device.index, clock)
    this.groupSync = new GroupSync(disk, this.index, this.health, () => this.writesByPass())
    const { activity, health, index, groupSync } = this
    this.answers = new Answers(clock, activity)
    const open = !opened.cleanStop && opened.sameBoot
    this.gate = new ChangeGate({ slots, index, groupSync, health, activity, bootId, open })
    const onReady = (slot: number) => this.changes.slotReady(slot)
    this.eraser = new Eraser({ disk, index, slots, clock, health, activity, onReady })
    const kickEraser = () => this.eraser.kick()
    this.marks = new Marks({ chunks, index, health, activity, clock })
    this.idleRound = new IdleMarks(chunks)
    const { gate, map, marks } = this
    this.changes = new Changes({ disk, slots, map, index, health, gate, marks, groupSync, activity, kickEraser })
    this.eraser.kick()
  }

  get failed(): string | null {
    return this.health.failed
  }
  get capacityBytes(): number {
    return this.device.slots.slotCount * chunkBytes
  }
  get dirty(): boolean {
    return this.gate.isOpen
  }
  usage(): StoreUsage {
    return this.map.usage()
  }
  /** True once a reserved chunk's first write or zeroing has completed. */
  has(volume: number, chunk: number): boolean {
    return this.map.has(volume, chunk)
  }
  chunksOf(volume: number, first: number, end: number, step: number): number[] {
    return this.map.chunksOf(volume, first, end, step)
  }
  volumes(): number[] {
    return this.map.volumes()
  }
  setLimits(limits: { thinChunksMax: number; thickChunksMax: number }): void {
    this.map.setLimits(limits)
  }

  /** A chunk that has or has reserved a slot keeps it. The slot may still be on its way to zeroes: then `write` waits. */
  reserve(volume: number, chunk: number, kind: ChunkKind, useSpare: boolean): boolean {
    if (this.closing !== null || !this.map.reserve(volume, chunk, kind, useSpare)) return false
    if (this.device.slots.wantedCount > 0) this.eraser.kick()
    return true
  }

  read(volume: number, chunk: number, offset: number, target: Buffer, done: StoreDone): void {
    assert(offset >= 0 && offset + target.length <= chunkBytes, 'a read stays within its chunk')
    const chunks = this.map.find(volume)
    const entry = chunks === undefined ? 0 : chunks.get(chunk)
    if (this.closing !== null || !isMapped(entry)) {
      target.fill(0)
      this.answers.add(done, this.closing !== null ? shuttingDown : null)
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

  placeOf(volume: number, chunk: number): { disk: Disk; offsetBytes: number } | null {
    const entry = this.map.find(volume)?.get(chunk) ?? 0
    if (this.closing !== null || !isMapped(entry)) return null
    return { disk: this.disk, offsetBytes: slotOffsetOf(slotOf(entry)) }
  }

  takesLanes(passes: WritePasses, like: { offset: number; length: number }): boolean {
    return passes.serves(this.disk, like)
  }

  openLane(volume: number, chunk: number): { disk: Disk; offsetBytes: number } | null {
    const chunks = this.map.find(volume)
    const entry = chunks?.get(chunk) ?? 0
    if (this.refusal() !== null || !this.gate.isOpen || !isMapped(entry) || !chunks!.marks.isMarked(chunk)) return null
    this.changes.enter(chunks!)
    chunks!.marks.beginChange(chunk, this.marks.nextTouch())
    return { disk: this.disk, offsetBytes: slotOffsetOf(slotOf(entry)) }
  }

  closeLane(volume: number, chunk: number): void {
    const chunks = this.map.find(volume)!
    // It was changed until now.
    chunks.marks.beginChange(chunk, this.marks.nextTouch())
    chunks.marks.endChange(chunk)
    chunks.marks.endChange(chunk)
    this.changes.leave(chunks)
  }

  changeFailed(errno: string): void {
    this.health.changeFailed(errno)
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
    if (this.refuses(done)) return
    const chunks = this.map.find(volume)
    const entry = chunks === undefined ? 0 : chunks.get(chunk)
    assert(!isFilling(entry), 'a chunk is not removed while it is being filled')
    if (!isMapped(entry)) {
      if (isReserved(entry)) this.map.freeUnmapped(chunks!, chunk)
      this.eraser.kick()
      this.answers.add(done, null)
    } else if (!this.gate.isOpen) {
      this.gate.wait(() => this.remove(volume, chunk, done))
    } else if (!chunks!.marks.isMarked(chunk) && !mutate('remove-without-a-mark')) {
      this.marks.add(chunks!, chunk, error => (error === null ? this.remove(volume, chunk, done) : done(error)))
    } else {
      this.changes.remove(chunks!, chunk, done)
    }
  }

  dropVolume(volume: number, done: StoreDone): void {
    if (this.refuses(done)) return
    const chunks = this.map.find(volume)
    if (chunks === undefined) {
      this.answers.add(done, null)
    } else if (!this.gate.isOpen) {
      this.gate.wait(() => this.dropVolume(volume, done))
    } else {
      const { map, index, eraser, changes, gate } = this
      const refusal = () => this.refusal()
      dropChunks(chunks, { map, index, clock: this.device.clock, eraser, changes, gate, refusal }, done)
    }
  }

  isMarked(volume: number, chunk: number): boolean {
    return this.map.find(volume)?.marks.isMarked(chunk) ?? false
  }

  markedOf(volume: number, first: number, end: number, step: number): number[] {
    return this.map.find(volume)?.marks.markedChunks(first, end, step) ?? []
  }

  markedCount(): number {
    return this.device.chunks.markedCount
  }

  idleMarks(olderThanMs: number, max: number, isWanted: (volume: number, chunk: number) => boolean): IdleMark[] {
    return this.idleRound.next(this.device.clock.nowMs() - olderThanMs, max, isWanted)
  }

  touchOf(volume: number, chunk: number): number | null {
    if (this.marks.isPending(volume, chunk)) return null
    const chunks = this.map.find(volume)
    return chunks === undefined ? 0 : chunks.marks.touchOf(chunk)
  }

  unmark(list: readonly IdleMark[], done: StoreDone): number {
    return this.refuses(done) ? 0 : this.marks.remove(list, done)
  }

  sync(done: StoreDone): void {
    if (this.refuses(done)) return
    if (this.groupSync.idle) this.answers.add(done, null)
    else this.groupSync.request(this.untilDone(done))
  }

  async grow(): Promise<void> {
    const { disk, slots, systemId, deviceId, counter } = this.device
    await disk.noteGrowth?.()
    const slotCount = slotCountFor(disk.sizeBytes)
    if (slotCount <= slots.slotCount || this.refusal() !== null) return
    const lack = await indexRoomLack(this.device.index, this.path, slotCount)
    if (lack !== null) throw lack
    // With the flag of a clean stop gone, nothing that is said of the slots so far outlives this process.
    await this.admitted()
    try {
      await writeLabel(disk, { systemId, deviceId, counter, slotCount }, 1)
      slots.grow(slotCount)
      this.eraser.kick()
    } catch (error) {
      // Its write or its sync.
      this.health.syncFailed(error instanceof StorageError ? String(error.context.errno) : 'EIO')
      throw error
    } finally {
      this.gate.end()
      this.activity.leave()
    }
  }

  adoptEpoch(pool: number, slice: number, epoch: number, inSync: boolean): void {
    if (epoch > this.epoch) this.epoch = epoch
    if (this.refusal() !== null) return
    this.groupSync.noteChange()
    this.activity.enter()
    this.index.put(epochKey(pool, slice), epochValue(epoch, inSync), text => {
      if (text !== null) this.health.indexFailed(text)
      this.activity.leave()
    })
  }

  epochMax(): number {
    return this.epoch
  }

  knownEpochs(): KnownEpoch[] {
    const known: KnownEpoch[] = []
    for (const { key, value } of this.device.index.range(indexKeys.epochs)) {
      const epoch = parseEpoch(key, value)
      if (epoch !== null) known.push(epoch)
    }
    return known
  }

  markClean(done: StoreDone): void {
    if (!this.refuses(done)) this.gate.markClean(this.untilDone(done))
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

  /** Resolves within a change: `gate.end` and `activity.leave` are to follow. */
  private async admitted(): Promise<void> {
    this.activity.enter()
    while (!this.gate.isOpen) {
      await new Promise<void>(resolve => this.gate.wait(resolve))
      if (this.health.error === null) continue
      this.activity.leave()
      throw new StorageError('MEDIA_ERROR', { detail: 'the device has failed', device: this.path, error: this.failed! })
    }
    this.gate.begin()
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
    if (this.refuses(done)) return
    if (!this.gate.isOpen) {
      this.gate.wait(() => this.change(volume, chunk, offset, length, pieces, done))
      return
    }
    const chunks = this.map.find(volume)
    if (chunks === undefined) this.answers.add(done, { kind: 'meta', text: `volume ${volume} has been dropped` })
    else if (chunks.marks.isMarked(chunk)) this.changes.start(chunks, chunk, offset, length, pieces, done)
    else
      this.marks.add(chunks, chunk, error => {
        if (error === null) this.change(volume, chunk, offset, length, pieces, done)
        else done(error)
      })
  }

  private finishRead(read: ReadRequest, errno: string | null): void {
    const { done } = read
    read.chunks!.busyNow--
    this.reads.give(read)
    this.activity.leave()
    done(errno === null ? null : { kind: 'media', errno })
  }

  /** `done`, holding back `close` until it is called. */
  private untilDone(done: StoreDone): StoreDone {
    this.activity.enter()
    return error => {
      this.activity.leave()
      done(error)
    }
  }

  private refusal(): StoreError | null {
    return this.closing !== null ? shuttingDown : this.health.error
  }

  /** Answers a request that a closing or failed device does not take. */
  private refuses(done: StoreDone): boolean {
    const refusal = this.refusal()
    if (refusal !== null) this.answers.add(done, refusal)
    return refusal !== null
  }

  /** The next opening must not take this boot for a reason to trust the device. */
  private noteLoss(): void {
    this.activity.enter()
    this.index.put(indexKeys.boot, bootLost, () => this.activity.leave())
  }

  private fail(reason: string): void {
    this.changes.failWaiting()
    this.device.onFailed(reason)
  }
}
