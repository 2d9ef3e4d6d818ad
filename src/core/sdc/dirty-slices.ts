import { assert } from '../../base/assert.js'

/** The epoch of a slice in which nothing is unflushed: above all epochs, so that the oldest of two is their minimum. */
export const cleanEpoch = 0xffff_ffff

/**
 * Instead of an epoch: something is unflushed that was answered in an earlier boot, to clients that have ended with it. A
 * FLUSH covers it, as it does what any disk has in its cache; that some of it may be lost is nobody's concern.
 */
export const inheritedEpoch = cleanEpoch - 1

/**
 * What FLUSH of one mapping has to cover (design section 4): for each slice the oldest epoch in which a change was
 * answered since the last successful flush. Notes are in two tables, so that a flush in progress covers what was answered
 * before it began and what comes meanwhile waits for the next one.
 *
 * `flushedEpochs` are the epochs as of the last known flush, or else of the mapping. They stand in for notes where
 * there are none to rely on: others write, too, or the notes of an earlier boot may be incomplete.
 */
export class DirtySlices {
  readonly #written: Uint32Array
  readonly #flushing: Uint32Array
  readonly #flushed: Uint32Array
  #underWay = false

  constructor(notes: { flushedEpochs: Uint32Array; dirtyEpochs: Uint32Array }) {
    assert(notes.flushedEpochs.length === notes.dirtyEpochs.length, 'both tables have all slices')
    this.#flushed = notes.flushedEpochs
    this.#written = notes.dirtyEpochs
    this.#flushing = new Uint32Array(notes.dirtyEpochs.length).fill(cleanEpoch)
  }

  get sliceCount(): number {
    return this.#written.length
  }

  /** Before a change is answered. True if the oldest epoch of the slice changed: the file has to be told. */
  note(slice: number, epoch: number): boolean {
    const before = this.oldestEpoch(slice)
    if (epoch < this.#written[slice]!) this.#written[slice] = epoch
    return epoch < before
  }

  /** The oldest epoch of anything unflushed in the slice. */
  oldestEpoch(slice: number): number {
    return Math.min(this.#written[slice]!, this.#flushing[slice]!)
  }

  flushedEpoch(slice: number): number {
    return this.#flushed[slice]!
  }

  get isClean(): boolean {
    for (let slice = 0; slice < this.sliceCount; slice++) if (this.oldestEpoch(slice) !== cleanEpoch) return false
    return true
  }

  /** Starts a flush; returns the slices that it has to cover. `every`: all count as written since the last flush. */
  beginFlush(every: boolean): number[] {
    assert(!this.#underWay, 'one flush of a mapping at a time')
    this.#underWay = true
    const slices: number[] = []
    for (let slice = 0; slice < this.sliceCount; slice++) {
      const written = this.#written[slice]!
      this.#flushing[slice] = every ? Math.min(written, this.#flushed[slice]!) : written
      this.#written[slice] = cleanEpoch
      if (this.#flushing[slice] !== cleanEpoch) slices.push(slice)
    }
    return slices
  }

  /** True if the slice went on from a copy that may have lost something that the flush under way has to cover. */
  hasLost(slice: number, lossEpoch: number): boolean {
    return this.#flushing[slice]! < lossEpoch
  }

  /** All copies of the slice have it, whatever becomes of the rest of the flush. */
  sliceFlushed(slice: number, epoch: number): void {
    this.#flushing[slice] = cleanEpoch
    this.#flushed[slice] = epoch
  }

  /**
   * Ends the flush. `flushedEpochs`: the epochs in which it succeeded; null: it failed, and what is left of it stays
   * unflushed. True if an epoch of the last known flush changed.
   */
  finishFlush(flushedEpochs: Uint32Array | null): boolean {
    assert(this.#underWay, 'a flush is under way')
    this.#underWay = false
    let changed = false
    for (let slice = 0; slice < this.sliceCount; slice++) {
      if (flushedEpochs === null) this.#written[slice] = this.oldestEpoch(slice)
      else if (this.#flushed[slice] !== flushedEpochs[slice]) {
        this.#flushed[slice] = flushedEpochs[slice]!
        changed = true
      }
      this.#flushing[slice] = cleanEpoch
    }
    return changed
  }

  /**
   * Instead of `finishFlush`: the flush fails because of losses, and whoever asked is told now. What it covered counts as
   * written after the loss, so that the same loss is not reported again.
   */
  reportLosses(lossEpochs: Uint32Array): void {
    for (let slice = 0; slice < this.sliceCount; slice++) {
      const lossEpoch = lossEpochs[slice]!
      if (this.#flushing[slice]! < lossEpoch) this.#flushing[slice] = lossEpoch
      if (this.#flushed[slice]! < lossEpoch) this.#flushed[slice] = lossEpoch
    }
    this.finishFlush(null)
  }
}
