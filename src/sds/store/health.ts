import type { StoreError } from './device-store.js'

/** Of a change that had no room. What was answered before is as safe as it was: the file system refused, no disk failed. */
const lackOfRoom: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT'])

export interface HealthEvents {
  /** Once, with the reason. */
  onFailed(reason: string): void
  /** Once: changes that were answered and not synced may be lost, though the host goes on. */
  onLoss(): void
}

/**
 * Whether a device can still be changed. After a write, erase or sync that failed nobody knows what it holds; it is
 * never asked again (a second fdatasync would answer "done" for data that the first one lost).
 */
export class Health {
  error: StoreError | null = null
  private mayHaveLost = false

  constructor(private readonly events: HealthEvents) {}

  get failed(): string | null {
    if (this.error === null) return null
    return this.error.kind === 'media' ? this.error.errno : this.error.kind === 'meta' ? this.error.text : null
  }

  /** A write or erase failed. A disk with an error may have been reset meanwhile, and have lost what its cache held. */
  changeFailed(errno: string): void {
    this.fail({ kind: 'media', errno }, !lackOfRoom.has(errno))
  }

  /** A sync failed, even if only for want of room: the page cache may have dropped what was answered. */
  syncFailed(errno: string): void {
    this.fail({ kind: 'media', errno }, true)
  }

  indexFailed(text: string): void {
    this.fail({ kind: 'meta', text: `index: ${text}` }, true)
  }

  private fail(error: StoreError, isLoss: boolean): void {
    const isFirst = this.error === null
    this.error ??= error
    if (isLoss && !this.mayHaveLost) {
      this.mayHaveLost = true
      this.events.onLoss()
    }
    if (isFirst) this.events.onFailed(this.failed!)
  }
}
