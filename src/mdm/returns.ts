import type { DeviceId, SdsId } from '../base/ids.js'
import type { MdmState } from '../core/mdm/index.js'
import { recoveryOf, returnedDevices } from '../core/mdm/index.js'
import { type Settlement, settle } from '../core/slices/index.js'
import type { Clock, Log, Timer } from '../ports/index.js'
import type { OpenedDevice } from '../wire/control.js'
import type { Proposer } from './proposer.js'
import type { Registry } from './registry.js'

/** How long a copy that came back unclean waits for its better half. */
export const gracePeriodMs = 60_000

/** Keeps the time for copies that wait, and asks for a decision whenever one may be possible. */
export class Returns {
  readonly #waitingSinceMs = new Map<DeviceId, number>()
  #timer: Timer | null = null
  #isClosed = false

  constructor(
    readonly state: MdmState,
    readonly registry: Registry,
    readonly proposer: Proposer,
    readonly clock: Clock,
    readonly log: Log,
    /** Silent, and unreachable for its partners. */
    readonly isConvicted: (sdsId: SdsId) => boolean = () => false,
  ) {}

  /** What the devices that a registration brings do to slices. */
  settlementOf(state: MdmState, sdsId: SdsId, processId: string, opened: readonly OpenedDevice[]): Settlement {
    const reported = new Set(opened.map(device => device.deviceId))
    const returned = returnedDevices(state, sdsId, processId, opened)
    for (const { deviceId } of returned) this.#waitingSinceMs.delete(deviceId as DeviceId)
    return settle({
      map: state.map,
      epochHigh: state.epochHigh,
      returned,
      isPresent: id => reported.has(id) || this.registry.isPresent(id),
      isGraceOver: id => this.#isGraceOver(id),
      isConvicted: id => this.#isConvicted(id),
    })
  }

  /** Decides what can be decided now: somebody came back, or time went by. */
  settleNow(): void {
    const waits = [...this.state.map.tables.devices.values()].some(device => device.waiting)
    if (!waits || recoveryOf(this.state)) return
    this.proposer
      .propose('settle', state => {
        const settlement = settle({
          map: state.map,
          epochHigh: state.epochHigh,
          returned: [],
          isPresent: id => this.registry.isPresent(id),
          isGraceOver: id => this.#isGraceOver(id),
          isConvicted: id => this.#isConvicted(id),
        })
        return settlement.slices.length + settlement.waiting.length > 0 ? { settlement } : null
      })
      .catch(error => {
        if (!this.#isClosed) this.log.error('mdm.settleFailed', { error: String(error) })
      })
  }

  /** After every change of the map: who waits, and until when. */
  noteWaiting(): void {
    if (this.#isClosed) return
    const nowMs = this.clock.nowMs()
    let nextMs = Number.POSITIVE_INFINITY
    for (const device of this.state.map.tables.devices.values()) {
      if (!device.waiting) {
        this.#waitingSinceMs.delete(device.id)
        continue
      }
      const sinceMs = this.#waitingSinceMs.get(device.id)
      if (sinceMs === undefined) {
        this.#waitingSinceMs.set(device.id, nowMs)
        this.log.warn('slices.waiting', { device: device.name, slices: device.waiting.slices.length })
      }
      const leftMs = (sinceMs ?? nowMs) + gracePeriodMs - nowMs
      if (leftMs > 0) nextMs = Math.min(nextMs, leftMs)
    }
    this.#timer?.cancel()
    this.#timer = Number.isFinite(nextMs) ? this.clock.setTimer(nextMs, () => this.#graceOver()) : null
  }

  #graceOver(): void {
    this.#timer = null
    this.noteWaiting()
    this.settleNow()
  }

  #isGraceOver(deviceId: DeviceId): boolean {
    const sinceMs = this.#waitingSinceMs.get(deviceId)
    return sinceMs !== undefined && this.clock.nowMs() >= sinceMs + gracePeriodMs
  }

  #isConvicted(deviceId: DeviceId): boolean {
    const sdsId = this.state.map.tables.devices.get(deviceId)?.sdsId
    return sdsId !== undefined && this.isConvicted(sdsId)
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }
}
