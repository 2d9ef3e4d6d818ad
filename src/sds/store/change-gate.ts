import { assert } from '../../base/assert.js'
import { distrustedRangesMax, indexKeys, type SlotTable } from '../../core/store/index.js'
import type { Activity } from './activity.js'
import type { StoreDone, StoreError } from './device-store.js'
import type { GroupSync } from './group-sync.js'
import type { Health } from './health.js'
import type { IndexWriter } from './index-writer.js'

export interface ChangeGateParts {
  slots: SlotTable
  index: IndexWriter
  groupSync: GroupSync
  health: Health
  activity: Activity
  bootId: string
  /** The index says already that this boot changed the device and that it was not stopped cleanly. */
  open: boolean
}

/**
 * Lets changes through only while the clean flag is durably gone (design section 5, rule 6).
 *
 *     shut --a change comes--> opening --flag durably gone--> open --markClean--> closing --flag durably set--> shut
 *
 * The flag and the boot id are touched by the first change only: a process that opens a device, changes nothing and dies
 * leaves what an earlier stop said of it, be it good or bad.
 */
export class ChangeGate {
  private state: 'shut' | 'opening' | 'open' | 'closing'
  private changesNow = 0
  private waiting: (() => void)[] = []
  private closers: StoreDone[] = []

  constructor(private readonly parts: ChangeGateParts) {
    this.state = parts.open ? 'open' : 'shut'
  }

  get isOpen(): boolean {
    return this.state === 'open'
  }

  /** Calls `change` when the gate is open, or the device has failed; it asks again which. */
  wait(change: () => void): void {
    this.waiting.push(change)
    if (this.state === 'shut') this.open()
  }

  begin(): void {
    assert(this.state === 'open', 'nothing changes while the clean flag is set')
    this.changesNow++
  }

  end(): void {
    this.changesNow--
    if (this.changesNow === 0 && this.state === 'closing') this.setFlag()
  }

  /** Waits for changes under way, syncs, then durably sets the clean flag. */
  markClean(done: StoreDone): void {
    this.closers.push(done)
    if (this.state === 'open' || this.state === 'shut') this.close()
  }

  private open(): void {
    this.state = 'opening'
    const { index, health, activity, bootId } = this.parts
    activity.enter()
    let failure: string | null = null
    const visible = (error: string | null): void => {
      failure ??= error
    }
    index.drop(indexKeys.clean, visible)
    index.put(indexKeys.boot, bootId, visible)
    index.flush(error => {
      failure ??= error
      if (failure !== null) health.indexFailed(failure)
      this.state = failure === null ? 'open' : 'shut'
      this.runWaiting()
      if (this.closers.length > 0) this.close()
      activity.leave()
    })
  }

  private close(): void {
    this.state = 'closing'
    if (this.changesNow === 0) this.setFlag()
  }

  private setFlag(): void {
    const { index, groupSync, health, slots, bootId } = this.parts
    groupSync.request(error => {
      if (error !== null) return this.closed(error)
      let failure: string | null = null
      const visible = (text: string | null): void => {
        failure ??= text
      }
      index.put(indexKeys.clean, slots.distrusted(distrustedRangesMax), visible)
      index.put(indexKeys.boot, bootId, visible)
      index.flush(text => {
        failure ??= text
        if (failure !== null) health.indexFailed(failure)
        this.closed(health.error)
      })
    })
  }

  private closed(error: StoreError | null): void {
    this.state = 'shut'
    const closers = this.closers
    this.closers = []
    for (const done of closers) done(error)
    if (this.waiting.length === 0) return
    if (this.parts.health.error !== null) this.runWaiting()
    else if (this.state === 'shut') this.open()
  }

  private runWaiting(): void {
    const waiting = this.waiting
    this.waiting = []
    for (const change of waiting) change()
  }
}
