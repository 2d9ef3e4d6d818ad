import { mutate } from '../base/mutation.js'
import { DirtySlices, dirtyCellAt, flushImageOf, readFlushImage } from '../core/sdc/index.js'
import type { Log, StateDirectory, StateFile } from '../ports/index.js'

export interface FlushFileOptions {
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

export const flushFileName = (volumeId: string): string => `flush-${volumeId}`
export const volumeOfFlushFile = (name: string): string | null => /^flush-([0-9a-f]{16})$/.exec(name)?.[1] ?? null

/**
 * The notes of one mapping, in memory and in the flush file. A note is in the operating system before the change is
 * answered. Once the file cannot be written, `note` says so, and changes are made durable one by one instead.
 */
export class FlushFile {
  readonly dirty: DirtySlices
  #file: StateFile | null
  #hasOutliving: boolean
  readonly #cell = Buffer.alloc(4)
  #broken: boolean
  /** More may differ from the notes in memory than the cells that a caller names. */
  #isBehind = false

  private constructor(
    readonly options: FlushFileOptions,
    dirty: DirtySlices,
    file: StateFile | null,
    hasOutliving: boolean,
  ) {
    this.dirty = dirty
    this.#file = file
    this.#hasOutliving = hasOutliving
    this.#broken = file === null
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
    if (found !== 'none') log.info('flush.file', { volumeId, found, dirty: !dirty.isClean })
    try {
      state.write(name, flushImageOf(dirty, { ...options, hasOutliving }))
      return new FlushFile(options, dirty, state.open(name), hasOutliving)
    } catch (error) {
      log.error('flush.fileBroken', { volumeId, reason: String(error), remedy: 'every write is made durable at once' })
      return new FlushFile(options, dirty, null, hasOutliving)
    }
  }

  /** False: nothing that needs a note may be answered; it has to be durable instead. */
  get usable(): boolean {
    return !this.#broken
  }

  /**
   * Before somebody is served who may outlive this boot with answers that he relies upon: anybody but this host's kernel.
   * Durable when it returns; or else every change is made durable from now on.
   */
  noteOutliving(): void {
    if (this.#hasOutliving || this.#broken) return
    this.#hasOutliving = true
    const { state, volumeId, log } = this.options
    const name = flushFileName(volumeId)
    try {
      state.write(name, this.#image())
      this.#file!.close()
      this.#file = state.open(name)
    } catch (error) {
      log.error('flush.fileBroken', { volumeId, reason: String(error), remedy: 'every write is made durable at once' })
      this.#broken = true
    }
  }

  /** Before a change is answered that is not durable. False if it could not be noted. */
  note(slice: number, epoch: number): boolean {
    if (this.#broken) return false
    if (!this.dirty.note(slice, epoch)) return true
    this.#cell.writeUInt32BE(epoch)
    return this.#write(dirtyCellAt(this.dirty.sliceCount, slice), this.#cell)
  }

  /** After a flush that changed the notes of `slices` and no epoch of the last known flush: those cells alone. */
  rewriteCells(slices: readonly number[]): void {
    if (this.#isBehind || slices.length > cellsMaxOf(this.dirty.sliceCount)) {
      this.rewrite()
      return
    }
    for (const slice of slices) {
      if (this.#broken) return
      this.#cell.writeUInt32BE(this.dirty.oldestEpoch(slice))
      this.#write(dirtyCellAt(this.dirty.sliceCount, slice), this.#cell)
    }
  }

  /** After a flush: all notes as they are now. */
  rewrite(): void {
    if (this.#broken) return
    this.#isBehind = false
    this.#write(0, this.#image())
  }

  /** A flush ended half-way: the file still says more than is unflushed, until the next rewrite says all. */
  noteBehind(): void {
    this.#isBehind = true
  }

  close(): void {
    this.#file?.close()
    this.#broken = true
  }

  /** The mapping is gone, and its notes with it. */
  remove(): void {
    this.close()
    this.options.state.remove(flushFileName(this.options.volumeId))
  }

  #image(): Buffer {
    const { bootId, mapping } = this.options
    return flushImageOf(this.dirty, { bootId, mapping, hasOutliving: this.#hasOutliving })
  }

  #write(atBytes: number, bytes: Buffer): boolean {
    try {
      this.#file!.writeAt(atBytes, bytes)
      return true
    } catch (error) {
      const { volumeId, log } = this.options
      log.error('flush.fileBroken', { volumeId, reason: String(error), remedy: 'every write is made durable at once' })
      this.#broken = true
      return false
    }
  }
}

/** What cannot be read is as good as damaged. */
function contentOf(state: StateDirectory, name: string): Buffer | null {
  try {
    return state.read(name)
  } catch {
    return Buffer.alloc(0)
  }
}
