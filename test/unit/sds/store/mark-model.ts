import { cells } from './chunk-model.js'

/** What one chunk held when its mark was last cleared, or at first: what its other copy certainly holds too. */
export class MarkModel {
  /** By cell; null where nothing is known, after the volume was dropped. */
  private settled: readonly string[] | null = cells.map(() => '')
  /** Answers of changes since. */
  private changedAt = 0
  private settledAt = 0
  /** Was marked when last seen, and nobody has cleared it. */
  private held = false

  constructor(readonly name: string) {}

  answer(at: number): void {
    this.changedAt = at
  }

  /** The mark was cleared, for what had been answered at `at`, when the chunk read as `content`. */
  cleared(at: number, content: readonly string[]): void {
    this.settled = content
    this.settledAt = at
    this.held = false
  }

  dropped(at: number): void {
    this.settled = null
    this.settledAt = at
    this.held = false
  }

  /** Returns what is wrong, or null. `read` gives the chunk's cells as they are now on the device. */
  check(isMarked: boolean, read: (cell: number) => string): string | null {
    const isChanged = this.changedAt > this.settledAt
    if (isMarked) {
      this.held = true
      return null
    }
    if (isChanged) return `${this.name} was changed and has no mark`
    if (this.held) return `the mark of ${this.name} is lost`
    const at = cells.findIndex((cell, at) => this.settled !== null && read(cell) !== this.settled[at])
    if (at < 0) return null
    return `${this.name} at ${cells[at]} reads "${read(cells[at]!)}", not "${this.settled![at]}", and has no mark`
  }
}
