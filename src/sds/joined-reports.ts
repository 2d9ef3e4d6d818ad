import { numberOfId, type PoolId } from '../base/ids.js'
import type { MdmClient } from '../mdm-client/index.js'
import type { Timer } from '../ports/index.js'
import type { SdsContext } from './context.js'
import type { JoinedSlice } from './resync.js'

const gatherMs = 50
const retryMs = 1_000
const slicesPerReport = 8_192

/** Tells the MDM which joining copies are complete, many at a time, until the map shows it or the record has moved on. */
export class JoinedReports {
  readonly #pending = new Map<PoolId, Map<number, JoinedSlice>>()
  #timer: Timer | null = null
  #isAsking = false
  #isClosed = false

  constructor(
    readonly context: SdsContext,
    readonly mdm: MdmClient,
  ) {}

  add(poolId: PoolId, joined: JoinedSlice): void {
    const slices = this.#pending.get(poolId) ?? new Map<number, JoinedSlice>()
    this.#pending.set(poolId, slices.set(joined.slice, joined))
    this.#askIn(gatherMs)
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  #askIn(delayMs: number): void {
    if (this.#timer !== null || this.#isAsking || this.#isClosed) return
    this.#timer = this.context.clock.setTimer(delayMs, () => {
      this.#timer = null
      this.#isAsking = true
      this.#ask().then(
        () => this.#asked(null),
        error => this.#asked(error),
      )
    })
  }

  async #ask(): Promise<void> {
    const { incarnation } = this.context
    for (const [poolId, joined] of this.#pending) {
      this.#forgetPast(poolId, joined)
      const slices = [...joined.values()].slice(0, slicesPerReport)
      if (slices.length > 0) await this.mdm.request('copiesJoined', { incarnation, poolId, slices })
    }
  }

  #asked(error: unknown): void {
    this.#isAsking = false
    if (error !== null) this.context.log.warn('sds.joined-report-failed', { reason: String(error) })
    for (const [poolId, joined] of this.#pending) this.#forgetPast(poolId, joined)
    if (this.#pending.size > 0) this.#askIn(retryMs)
  }

  /** Forgets what the map shows as done, or as another record. */
  #forgetPast(poolId: PoolId, joined: Map<number, JoinedSlice>): void {
    for (const { slice, epoch, joining } of [...joined.values()]) {
      const record = this.context.view.record(numberOfId(poolId), slice)
      if (record?.epoch !== epoch || record.joining !== joining) joined.delete(slice)
    }
    if (joined.size === 0) this.#pending.delete(poolId)
  }
}
