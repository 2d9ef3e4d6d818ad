import { mutate } from '../base/mutation.js'
import { cleanEpoch, DirtySlices, dirtyCellAt, flushImageOf, readFlushImage } from '../core/sdc/index.js'
import type { Clock, Log, StateDirectory, StateFile, Timer } from '../ports/index.js'

export interface FlushFileOptions {
  clock: Clock
  state: StateDirectory
  log: Log
  bootId: string
  volumeId: string
  /** Number of the mapping: another mapping's notes mean nothing. */
  mapping: number
  /** Epochs of the slices, now. */
  epochs: Uint32Array
  /** Other SDCs write to the volume, too. */
  isShared: boolean
}

/** Beyond so many cells one write of the whole file is cheaper, which takes longer the more slices there are. */
const cellsMaxOf = (sliceCount: number): number => Math.max(32, sliceCount / 256)

/** How long a slice rests at least before the file says that it is clean. */
const restMs = 2_000

export const flushFileName = (volumeId: string): string => `flush-${volumeId}`
export const volumeOfFlushFile = (name: string): string | null => /^flush-([0-9a-f]{16})$/.exec(name)?.[1] ?? null

/**
 * The notes of one mapping, in memory and in the flush file. A note is in the operating system before the change is
 * answered. Once the file cannot be written, `note` says so, and changes are made durable one by one instead.
 *
 * The file may be more cautious than the notes in memory, never less. Invariant: whenever a change is answered,
 * `cells[slice]` is at most its epoch, and stays so until the change is flushed. So a slice that is written and flushed all
 * the time costs no writes of the file; the cells of slices that rest are cleaned a while later.
 *
 * Why that is enough: only the next process reads the file. If this one ended before the file knew what was clean, the first
 * FLUSH of the next one covers more than it has to. At worst it reports a loss that came after the write was flushed, and
 * only if this process had no FLUSH since it heard of the loss: a loss is a new epoch, for which the whole file is written.
 * To report what was no loss is better than to miss one, so no cell may ever be too new.
 *
 * Once others have written, too, every cell is at most the epoch of the last known flush, until a flush has covered what
 * they wrote, so that a process that finds the volume its own again does not take for flushed what they left.
 */
export class FlushFile {
  readonly dirty: DirtySlices
  /** For each slice the dirty cell in the file. The same array for as long as this lives, as others look at it (ports/relay.ts). */
  readonly cells: Uint32Array
  /** 1: flushed since the timer was set. */
  readonly #recent: Uint8Array
  #file: StateFile | null
  #hasOutliving: boolean
  #othersWrote: boolean
  readonly #cell = Buffer.alloc(4)
  #broken: boolean
  /** The file lacks epochs of the last known flush, or keeps a loss: nothing is raised before it is written whole. */
  #isBehind = false
  /** Runs only while the file calls slices dirty that are clean. */
  #timer: Timer | null = null

  private constructor(
    readonly options: FlushFileOptions,
    dirty: DirtySlices,
    cells: Uint32Array,
    file: StateFile | null,
    hasOutliving: boolean,
  ) {
    this.dirty = dirty
    this.cells = cells
    this.#recent = new Uint8Array(cells.length)
    this.#file = file
    this.#hasOutliving = hasOutliving
    this.#othersWrote = options.isShared
    this.#broken = false
    if (file === null) this.#endNotes()
  }

  /** Takes over what the file says, and makes it this boot's. */
  static open(options: FlushFileOptions): FlushFile {
    const { state, log, volumeId } = options
    const name = flushFileName(volumeId)
    const { found, hasOutliving, ...notes } = readFlushImage(
      mutate('lose-the-flush-set-with-the-SDC') ? null : contentOf(state, name),
      options,
    )
    const dirty = new DirtySlices(notes)
    const cells = notes.dirtyEpochs.map((_, slice) => cellOf(dirty, slice, options.isShared))
    if (found !== 'none') log.info('flush.file', { volumeId, found, dirty: !dirty.isClean })
    try {
      state.write(name, flushImageOf(dirty, cells, { ...options, hasOutliving }))
      return new FlushFile(options, dirty, cells, state.open(name), hasOutliving)
    } catch (error) {
      log.error('flush.fileBroken', { volumeId, reason: String(error), remedy: 'every write is made durable at once' })
      return new FlushFile(options, dirty, cells, null, hasOutliving)
    }
  }

  /** False: nothing that needs a note may be answered; it has to be durable instead. */
  get usable(): boolean {
    return !this.#broken
  }

  /** Others have written to the volume, too, since the last flush that `othersFlushed` tells of. */
  get othersWrote(): boolean {
    return this.#othersWrote
  }

  /**
   * Before somebody is served who may outlive this boot with answers that he relies upon: anybody but this host's kernel.
   * Durable when it returns; or else every change is made durable from now on.
   */
  noteOutliving(): void {
    if (this.#hasOutliving || this.#broken) return
    this.#hasOutliving = true
    this.#writeDurably()
  }

  /** Before other SDCs may write to the volume. Durable when it returns, if anything can be noted. */
  noteOthers(): void {
    if (this.#othersWrote) return
    this.#othersWrote = true
    this.#hasOutliving = true
    if (this.#broken) return
    // Downwards only: the file may keep a loss, of which the notes know no more.
    for (let slice = 0; slice < this.cells.length; slice++)
      this.cells[slice] = Math.min(this.cells[slice]!, cellOf(this.dirty, slice, true))
    this.#writeDurably()
  }

  /** Nobody else writes, and everything that others wrote is flushed. */
  othersFlushed(): void {
    this.#othersWrote = false
    this.rewrite()
  }

  /** Before a change is answered that is not durable. False if it could not be noted. */
  note(slice: number, epoch: number): boolean {
    if (this.#broken) return false
    this.dirty.note(slice, epoch)
    if (this.covers(slice, epoch)) return true
    if (!this.#writeCell(slice, epoch)) return false
    this.cells[slice] = epoch
    return true
  }

  /** True: a note of this epoch needs no write of the file. */
  covers(slice: number, epoch: number): boolean {
    return !this.#broken && this.cells[slice]! <= epoch
  }

  /** After a flush of `slices` that changed no epoch of the last known flush. */
  flushed(slices: readonly number[]): void {
    if (this.#isBehind) this.rewrite()
    else if (this.#timer !== null) for (const slice of slices) this.#recent[slice] = 1
    else if (!this.#broken && slices.some(slice => this.#isStale(slice))) this.#setTimer()
  }

  /** After a flush: all notes as they are now. */
  rewrite(): void {
    if (this.#broken) return
    this.#isBehind = false
    this.#cancelTimer()
    for (let slice = 0; slice < this.cells.length; slice++)
      this.cells[slice] = cellOf(this.dirty, slice, this.#othersWrote)
    this.#write(0, this.#image())
  }

  /**
   * A flush ended half-way, or a loss was reported: the file stays as cautious as it is, until a later flush succeeds and
   * writes it whole.
   */
  noteBehind(): void {
    this.#isBehind = true
    this.#cancelTimer()
  }

  /** Before a clean end: the next process need not flush what is clean. */
  settle(): void {
    this.#cancelTimer()
    if (!this.#isBehind) this.#clean(this.#staleSlices())
  }

  close(): void {
    this.#cancelTimer()
    this.#file?.close()
    this.#endNotes()
  }

  /** The mapping is gone, and its notes with it. */
  remove(): void {
    this.close()
    this.options.state.remove(flushFileName(this.options.volumeId))
  }

  /** Clean, and the file does not know it. */
  #isStale(slice: number): boolean {
    return this.cells[slice] !== cleanEpoch && cellOf(this.dirty, slice, this.#othersWrote) === cleanEpoch
  }

  #staleSlices(): number[] {
    const slices: number[] = []
    for (let slice = 0; slice < this.cells.length; slice++) if (this.#isStale(slice)) slices.push(slice)
    return slices
  }

  #setTimer(): void {
    this.#recent.fill(0)
    this.#timer = this.options.clock.setTimer(restMs, () => {
      this.#timer = null
      this.#cleanRested()
    })
  }

  #cancelTimer(): void {
    this.#timer?.cancel()
    this.#timer = null
  }

  /** A slice that was flushed since the timer was set will be written again: it would cost two writes each time. */
  #cleanRested(): void {
    const stale = this.#staleSlices()
    const rested = stale.filter(slice => this.#recent[slice] === 0)
    this.#clean(rested)
    if (rested.length < stale.length && !this.#broken) this.#setTimer()
  }

  #clean(slices: readonly number[]): void {
    if (this.#broken) return
    for (const slice of slices) this.cells[slice] = cleanEpoch
    if (slices.length > cellsMaxOf(this.cells.length)) this.#write(0, this.#image())
    else for (const slice of slices) if (!this.#writeCell(slice, cleanEpoch)) return
  }

  /** The whole file; it outlives the boot. */
  #writeDurably(): void {
    const { state, volumeId } = this.options
    const name = flushFileName(volumeId)
    try {
      state.write(name, this.#image())
      this.#file!.close()
      this.#file = state.open(name)
    } catch (error) {
      this.#break(error)
    }
  }

  #writeCell(slice: number, epoch: number): boolean {
    this.#cell.writeUInt32BE(epoch)
    return this.#write(dirtyCellAt(this.cells.length, slice), this.#cell)
  }

  #image(): Buffer {
    const { bootId, mapping } = this.options
    return flushImageOf(this.dirty, this.cells, { bootId, mapping, hasOutliving: this.#hasOutliving })
  }

  #write(atBytes: number, bytes: Buffer): boolean {
    try {
      this.#file!.writeAt(atBytes, bytes)
      return true
    } catch (error) {
      this.#break(error)
      return false
    }
  }

  #break(error: unknown): void {
    const { volumeId, log } = this.options
    log.error('flush.fileBroken', { volumeId, reason: String(error), remedy: 'every write is made durable at once' })
    this.#cancelTimer()
    this.#endNotes()
  }

  /** Nothing is noted any more, by nobody: the file counts as calling everything clean. */
  #endNotes(): void {
    this.#broken = true
    this.cells.fill(cleanEpoch)
  }
}

/** The least cautious thing that the file may say of a slice. */
const cellOf = (dirty: DirtySlices, slice: number, othersWrote: boolean): number =>
  Math.min(dirty.oldestEpoch(slice), othersWrote ? dirty.flushedEpoch(slice) : cleanEpoch)

/** What cannot be read is as good as damaged. */
function contentOf(state: StateDirectory, name: string): Buffer | null {
  try {
    return state.read(name)
  } catch {
    return Buffer.alloc(0)
  }
}
