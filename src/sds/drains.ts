import { numberOfId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import { sliceKey } from '../core/sds/index.js'
import type { SliceRecord } from '../model/index.js'
import type { Timer } from '../ports/index.js'
import type { SdsAnswers, SdsRequests } from '../wire/control.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'

interface Drain {
  record: SliceRecord
  device: OwnDevice
  pool: number
}

const pollMs = 5

/**
 * Slices whose roles are about to be swapped: nothing more is admitted, requests wait. Void when the record changes, and
 * after the time that was asked for, so that an MDM that forgot about it stops nobody.
 */
export class Drains {
  readonly #drains = new Map<number, Drain>()

  constructor(
    readonly context: SdsContext,
    /** Requests that waited may go on. */
    readonly onVoid: () => void,
  ) {}

  has(pool: number, slice: number): boolean {
    return this.#drains.has(sliceKey(pool, slice))
  }

  /** Answers with the slices that have nothing under way any more, within half the time: the other half is the MDM's. */
  drain({ poolId, slices, forMs }: SdsRequests['drainSlices']): Promise<SdsAnswers['drainSlices']> {
    const { clock, view, devices } = this.context
    const pool = numberOfId(poolId as never)
    const mine = new Map<number, Drain>()
    for (const { slice, epoch } of slices) {
      const record = view.record(pool, slice)
      const device = record && devices.get(record.primary)
      const key = sliceKey(pool, slice)
      if (record?.epoch !== epoch || device === undefined || this.#drains.has(key)) continue
      if (!this.context.leases.mayAct(pool, slice)) continue
      mine.set(key, { record, device, pool })
    }
    for (const [key, drain] of mine) this.#drains.set(key, drain)
    this.context.passes.voidAll()
    for (const device of new Set([...mine.values()].map(({ device }) => device)))
      device.callBackLanes(({ slice }) => mine.get(sliceKey(slice.pool, slice.record.slice))?.record === slice.record)
    clock.setTimer(forMs, () => this.#forget(mine, mine.keys()))
    const endMs = clock.nowMs() + forMs / 2
    return new Promise(resolve => {
      let timer: Timer | null = null
      const look = () => {
        timer?.cancel()
        const busy = [...mine.keys()].filter(key => this.#isBusy(mine.get(key)!))
        if (busy.length > 0 && clock.nowMs() < endMs) {
          timer = clock.setTimer(pollMs, look)
          return
        }
        this.#forget(mine, busy)
        const drained = [...mine].filter(([key, drain]) => this.#drains.get(key) === drain && !busy.includes(key))
        resolve({ slices: drained.map(([, { record }]) => record.slice) })
      }
      look()
    })
  }

  /** The map changed: a drain holds for one record. */
  mapChanged(): void {
    for (const [key, { record, pool }] of this.#drains)
      if (this.context.view.record(pool, record.slice) !== record) this.#drains.delete(key)
  }

  #isBusy({ device, pool, record }: Drain): boolean {
    if (mutate('swap-with-unfinished-writes')) return false
    const { view } = this.context
    for (const request of device.active) {
      if (request.mapping === 0) continue
      const volume = view.volumes.get(request.volume)
      if (volume?.pool.number !== pool) continue
      if ((volume.sliceOffset + request.chunk) % volume.pool.sliceCount === record.slice) return true
    }
    return false
  }

  #forget(mine: ReadonlyMap<number, Drain>, keys: Iterable<number>): void {
    let isAny = false
    for (const key of [...keys]) {
      if (this.#drains.get(key) !== mine.get(key)) continue
      this.#drains.delete(key)
      isAny = true
    }
    if (isAny) this.onVoid()
  }
}
