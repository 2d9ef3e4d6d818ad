import type { StoreError } from './device-store.js'

/**
 * Whether a device can still be changed. After a write, erase or sync that failed nobody knows what it holds; it is
 * never asked again (a second fdatasync would answer "done" for data that the first one lost).
 */
export class Health {
  error: StoreError | null = null

  constructor(private readonly onFailed: (reason: string) => void) {}

  get failed(): string | null {
    if (this.error === null) return null
    return this.error.kind === 'media' ? this.error.errno : this.error.kind === 'meta' ? this.error.text : null
  }

  mediaFailed(errno: string): void {
    this.fail({ kind: 'media', errno })
  }

  indexFailed(text: string): void {
    this.fail({ kind: 'meta', text: `index: ${text}` })
  }

  private fail(error: StoreError): void {
    if (this.error !== null) return
    this.error = error
    this.onFailed(this.failed!)
  }
}
