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
 *
 * Beside each table goes the list of its slices that are not clean: what a flush costs depends on what it covers, not on
 * how many slices the pool has.
 */
export class DirtySlices {
  readonly #written: Uint32Array
  readonly #flushing: Uint32Array
  readonly #flushed: Uint32Array
  /**
   * What was answered below TypeScript (ports/relay.ts): for each slice the oldest epoch, as in the other tables, which it
   * counts into.
   */
  readonly below: Uint32Array
  readonly #belowSlices = new Set<number>()
  #writtenSlices: number[] = []
  #flushingSlices: number[] = []
  #underWay = false

  constructor(notes: { flushedEpochs: Uint32Array; dirtyEpochs: Uint32Array }) {
    assert(notes.flushedEpochs.length === notes.dirtyEpochs.length, 'both tables have all slices')
    this.#flushed = notes.flushedEpochs
    this.#written = notes.dirtyEpochs
    this.#flushing = new Uint32Array(notes.dirtyEpochs.length).fill(cleanEpoch)
    this.below = this.#flushing.slice()
    for (let slice = 0; slice < this.sliceCount; slice++)
      if (this.#written[slice] !== cleanEpoch) this.#writtenSlices.push(slice)
  }

  get sliceCount(): number {
    return this.#written.length
  }

  /** Before a change is answered. */
  note(slice: number, epoch: number): void {
    const written = this.#written[slice]!
    if (epoch >= written) return
    if (written === cleanEpoch) this.#writtenSlices.push(slice)
    this.#written[slice] = epoch
  }

  /** The oldest epoch of anything unflushed in the slice. */
  oldestEpoch(slice: number): number {
    return Math.min(this.#written[slice]!, this.#flushing[slice]!, this.below[slice]!)
  }

  /** From here on changes of the slice may be answered below. */
  mayBeNotedBelow(slice: number): void {
    this.#belowSlices.add(slice)
  }

  #takeBelow(): void {
    for (const slice of this.#belowSlices) {
      if (this.below[slice] === cleanEpoch) continue
      this.note(slice, this.below[slice]!)
      this.below[slice] = cleanEpoch
    }
  }

  flushedEpoch(slice: number): number {
    return this.#flushed[slice]!
  }

  get isClean(): boolean {
    return ![...this.#writtenSlices, ...this.#flushingSlices, ...this.#belowSlices].some(
      slice => this.oldestEpoch(slice) !== cleanEpoch,
    )
  }

  /**
   * Starts a flush; returns the slices that it has to cover, in order. `every`: all count as written since the last flush.
   */
  beginFlush(every: boolean): readonly number[] {
    assert(!this.#underWay, 'one flush of a mapping at a time')
    this.#underWay = true
    this.#takeBelow()
    const slices = every ? [...this.#written.keys()] : this.#writtenSlices.sort((a, b) => a - b)
    for (const slice of slices) {
      const written = this.#written[slice]!
      this.#flushing[slice] = every ? Math.min(written, this.#flushed[slice]!) : written
      this.#written[slice] = cleanEpoch
    }
    this.#writtenSlices = []
    this.#flushingSlices = slices
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
   * unflushed. `othersMoved` false: only slices that it covered can have another epoch than at the last one. True if an
   * epoch of the last known flush changed.
   */
  finishFlush(flushedEpochs: Uint32Array | null, othersMoved = true): boolean {
    assert(this.#underWay, 'a flush is under way')
    this.#underWay = false
    const covered = this.#flushingSlices
    this.#flushingSlices = []
    let changed = false
    if (flushedEpochs === null) for (const slice of covered) this.note(slice, this.#flushing[slice]!)
    else if (othersMoved) {
      for (let slice = 0; slice < this.sliceCount; slice++)
        if (this.#setFlushed(slice, flushedEpochs[slice]!)) changed = true
    } else for (const slice of covered) if (this.#setFlushed(slice, flushedEpochs[slice]!)) changed = true
    for (const slice of covered) this.#flushing[slice] = cleanEpoch
    return changed
  }

  #setFlushed(slice: number, epoch: number): boolean {
    if (this.#flushed[slice] === epoch) return false
    this.#flushed[slice] = epoch
    return true
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
