import type { DeviceId, SystemId } from '../../base/ids.js'
import type { IdleMark, KnownEpoch } from '../../core/store/index.js'
import type { Disk, WritePasses } from '../../ports/index.js'

/** Completion of a store operation: null, or what went wrong. */
export type StoreDone = (error: StoreError | null) => void
/** `full`: no slot; `media`: the device answered with an error; `meta`: the index could not be written. */
export type StoreError = { kind: 'full' } | { kind: 'media'; errno: string } | { kind: 'meta'; text: string }

export interface StoreUsage {
  slotsTotal: number
  slotsUsed: number
  thinChunks: number
  thickChunks: number
}

/**
 * The chunks of one device. Volumes and chunks are numbers; offsets and lengths are bytes within one chunk.
 *
 * The caller holds the range lock for what it touches (whole blocks of 4 KiB; the whole chunk for `reserve` up to the
 * completion of the write that fills it, and for `remove`), so the store never sees overlapping operations. Requests
 * need not be aligned: the store reads, changes and writes whole blocks where the disk needs it.
 *
 * A chunk without a slot reads as zeroes. After any crash a chunk maps to its own data or to zeroes, never to another
 * chunk's (design section 5, rule 9).
 */
export interface DeviceStore {
  readonly deviceId: DeviceId
  readonly systemId: SystemId
  readonly path: string
  readonly capacityBytes: number
  /** As found at opening, for the MDM (rule 6). */
  readonly opened: { cleanStop: boolean; sameBoot: boolean }
  /** Set at the first I/O error; the device is then of no more use to writers. */
  readonly failed: string | null

  usage(): StoreUsage
  has(volume: number, chunk: number): boolean
  /** Allocated chunks of a volume among `first, first + step, …` below `end`, ascending. */
  chunksOf(volume: number, first: number, end: number, step: number): number[]
  /** Numbers of all volumes that have a chunk or a mark here. */
  volumes(): number[]

  /**
   * How far clients may fill the device: slots for thin chunks and for thick chunks (thick ones are reserved, so that
   * thin writes cannot take them). Only `useSpare` reservations go beyond.
   */
  setLimits(limits: { thinChunksMax: number; thickChunksMax: number }): void
  /**
   * Sets a slot aside for a chunk that has none; false if there is none (or the limit is reached). At once, in memory;
   * becomes an index entry with the first `write` or `zero`, or is given back by `remove`.
   */
  reserve(volume: number, chunk: number, kind: 'thin' | 'thick', useSpare: boolean): boolean

  /** Reads `target.length` bytes; zeroes where nothing is. */
  read(volume: number, chunk: number, offset: number, target: Buffer, done: StoreDone): void
  /** Where a chunk that has a slot lies, for as long as nobody removes it; null: it reads as zeroes. */
  placeOf(volume: number, chunk: number): { disk: Disk; offsetBytes: number } | null
  /**
   * Begins a change of a chunk that whoever calls carries out on the disk himself, as often as he likes, and ends with
   * `closeLane`. null: the chunk has no slot or no durable mark, or the device takes no changes now.
   */
  openLane(volume: number, chunk: number): { disk: Disk; offsetBytes: number } | null
  closeLane(volume: number, chunk: number): void
  /** A write that was carried out so has failed: the device is not written any more. */
  changeFailed(errno: string): void
  /** Whether there are passes for writes like this one on its disk. */
  takesLanes(passes: WritePasses, like: { offset: number; length: number }): boolean
  /** How often something was changed so. To be set before the first one. */
  writesByPass: () => number
  /**
   * Writes to a chunk that has or has reserved a slot. Done when data and index entry would survive the end of this
   * process; durable after `sync`.
   */
  write(volume: number, chunk: number, offset: number, pieces: readonly Buffer[], done: StoreDone): void
  /** As `write`, with zeroes; punches whole blocks. The chunk stays allocated. */
  zero(volume: number, chunk: number, offset: number, length: number, done: StoreDone): void
  /** Deallocates a chunk (nothing happens if it has no slot). Done when the removal would survive this process. */
  remove(volume: number, chunk: number, done: StoreDone): void
  /** Removes everything of a volume that no longer exists, marks too, in the background of other work. */
  dropVolume(volume: number, done: StoreDone): void

  /**
   * Write-intent marks (design section 5, rule 4): `write`, `zero` and `remove` begin only once their chunk is durably
   * marked; where that cannot be done they fail with `meta` and nothing is changed. A mark goes by `unmark` and
   * `dropVolume` alone; after any crash every mark that was not cleared is there.
   */
  isMarked(volume: number, chunk: number): boolean
  /** Marked chunks of a volume among `first, first + step, …` below `end`, ascending; also of chunks without a slot. */
  markedOf(volume: number, first: number, end: number, step: number): number[]
  markedCount(): number
  /**
   * Marked chunks that nothing changes now and nothing has changed for `olderThanMs`: at most `max` of those that
   * `isWanted`, each call from where the last one ended (and maybe none although there are some: ask again later).
   */
  idleMarks(olderThanMs: number, max: number, isWanted: (volume: number, chunk: number) => boolean): IdleMark[]
  /** Names the chunk's last change; 0 where it is not marked, null while a change of it is under way or waits. */
  touchOf(volume: number, chunk: number): number | null
  /**
   * Clears marks, except of chunks that were touched again since `touch` was taken; returns how many. To be called when
   * everything up to then is synced on both copies. Done when the clearing is visible, which is all it needs to be.
   */
  unmark(list: readonly IdleMark[], done: StoreDone): number

  /**
   * Everything done before this call is durable: data first, then the index. Calls made while a sync is under way share
   * the next one.
   */
  sync(done: StoreDone): void

  /**
   * Takes in what the disk has grown by since it was opened (opening does so by itself): `capacityBytes` follows. Only for
   * a device whose return the MDM has decided: it counts as a change.
   */
  grow(): Promise<void>

  /**
   * Notes an adopted epoch, before anything is served in it; it is on the device after the next `sync`. `inSync`: as primary
   * or secondary, not as a copy that is being filled.
   */
  adoptEpoch(pool: number, slice: number, epoch: number, inSync: boolean): void
  epochMax(): number
  /** Of each slice that the device was ever a copy of, the last record that it adopted (as far as it is visible). */
  knownEpochs(): KnownEpoch[]

  /**
   * Called before the first change after opening or after `markClean`: the clean flag is durably gone when it is done.
   * (The store calls it by itself where needed; nothing changes before.)
   */
  readonly dirty: boolean
  /** Sync all, then durably mark a clean stop. Only when nothing is unfinished on any copy. */
  markClean(done: StoreDone): void
  /** Waits for what is under way, closes and unlocks; does not mark clean. */
  close(): Promise<void>
}
