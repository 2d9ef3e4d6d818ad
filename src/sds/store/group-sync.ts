import type { Disk } from '../../ports/index.js'
import type { StoreDone, StoreError } from './device-store.js'
import type { Health } from './health.js'
import type { IndexWriter } from './index-writer.js'

/**
 * Makes what is done durable: data first, then the index. Calls made while a sync is under way share the next one, as
 * the running one may have begun before what they ask for was written.
 */
export class GroupSync {
  /** Something was changed since the last sync began. At opening too: what a killed process wrote is not durable. */
  private changed = true
  /** What the last sync found. */
  private writesSeen = 0
  private running = false
  private next: StoreDone[] = []

  constructor(
    private readonly disk: Disk,
    private readonly index: IndexWriter,
    private readonly health: Health,
    /** Counts changes that nobody notes here. */
    private readonly writesByPass: () => number,
  ) {}

  /** To be called when a change is done, before anybody hears of it. */
  noteChange(): void {
    this.changed = true
  }

  /** `done` is never called before this returns. */
  request(done: StoreDone): void {
    this.next.push(done)
    if (!this.running) this.begin()
  }

  /** True if a sync now would find nothing to do. */
  get idle(): boolean {
    return !this.hasChanged && !this.running
  }

  private get hasChanged(): boolean {
    return this.changed || this.writesSeen !== this.writesByPass()
  }

  private begin(): void {
    this.running = true
    this.changed = false
    this.writesSeen = this.writesByPass()
    const sharing = this.next
    this.next = []
    this.disk.sync(errno => {
      if (errno !== null) this.health.syncFailed(errno)
      if (this.health.error !== null) return this.end(sharing, this.health.error)
      this.index.flush(text => {
        if (text !== null) this.health.indexFailed(text)
        this.end(sharing, this.health.error)
      })
    })
  }

  private end(sharing: readonly StoreDone[], error: StoreError | null): void {
    this.running = false
    for (const done of sharing) done(error)
    if (this.running || this.next.length === 0) return
    if (error === null && this.hasChanged) {
      this.begin()
      return
    }
    const waiting = this.next
    this.next = []
    for (const done of waiting) done(error)
  }
}
