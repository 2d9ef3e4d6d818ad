import type { Clock, MetaKey, MetaStore, MetaWrite } from '../../ports/index.js'

export type IndexDone = (error: string | null) => void

/** Writes to a device's index: what comes in one turn is one commit. */
export class IndexWriter {
  private writes: MetaWrite[] = []
  private waiting: IndexDone[] = []
  private scheduled = false
  private commitsNow = 0
  /** Flushes that begin once all commits so far are visible. */
  private flushes: { afterCommit: number; durable: IndexDone }[] = []
  private commitsBegun = 0
  private commitsEnded = 0
  private readonly submit = () => this.commitNow()

  constructor(
    private readonly index: MetaStore,
    private readonly clock: Clock,
  ) {}

  put(key: MetaKey, value: unknown, visible: IndexDone): void {
    this.add({ put: key, value }, visible)
  }

  drop(key: MetaKey, visible: IndexDone): void {
    this.add({ drop: key }, visible)
  }

  /** `durable` is called when every write of before this call would survive power loss. */
  flush(durable: IndexDone): void {
    if (this.writes.length > 0) this.commitNow()
    if (this.commitsNow === 0) this.index.flush(durable)
    else this.flushes.push({ afterCommit: this.commitsBegun, durable })
  }

  private add(write: MetaWrite, visible: IndexDone): void {
    this.writes.push(write)
    this.waiting.push(visible)
    if (this.scheduled) return
    this.scheduled = true
    this.clock.endOfTurn(this.submit)
  }

  private commitNow(): void {
    this.scheduled = false
    if (this.writes.length === 0) return
    const { writes, waiting } = this
    this.writes = []
    this.waiting = []
    this.commitsNow++
    this.commitsBegun++
    this.index.commit(writes, error => {
      this.commitsNow--
      this.commitsEnded++
      for (const visible of waiting) visible(error)
      this.beginFlushes()
    })
  }

  private beginFlushes(): void {
    while (this.flushes.length > 0 && this.flushes[0]!.afterCommit <= this.commitsEnded)
      this.index.flush(this.flushes.shift()!.durable)
  }
}
