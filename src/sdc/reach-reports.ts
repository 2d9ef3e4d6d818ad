import type { DeviceId, SdsId } from '../base/ids.js'
import type { Timer } from '../ports/index.js'
import type { MdmNotices } from '../wire/control.js'
import type { DataPath, DataPathHost } from './data-path.js'

const lookMs = 500
/** What the relay has had for so long is to be asked for by a session, which finds out who is silent. */
const relayMsMax = 1_000
/** A look that is this late was not late alone: this process did not run, and knows nothing of others. */
const stallMs = 1_250
/** After this much silence the other copies are asked whether they answer. */
const doubtMs = 1_000
/** After this much the MDM hears of it: later than an SDS that is gone for everybody is convicted. */
const silenceMs = 2_000
const listedMax = 1_024

/**
 * Notices which SDSs do not answer this SDC, and whether those that hold the other copies do, and tells the MDM (design
 * section 5, partitions). Who was once out of reach is asked again and again until it answers, whoever leads meanwhile.
 */
export class ReachReports {
  #timer: Timer | null = null
  #lookedAtMs: number
  #steadySinceMs: number
  /** Devices that do not answer, and since when that is known. */
  readonly #suspects = new Map<DeviceId, number>()
  #wasTold = false

  constructor(
    readonly host: DataPathHost,
    readonly path: DataPath,
    readonly tell: (report: MdmNotices['sdcReach']) => void,
  ) {
    this.#lookedAtMs = host.clock.nowMs()
    this.#steadySinceMs = this.#lookedAtMs
  }

  start(): void {
    this.#timer = this.host.clock.setTimer(lookMs, () => {
      this.#look(this.host.clock.nowMs())
      this.start()
    })
  }

  close(): void {
    this.#timer?.cancel()
  }

  #look(nowMs: number): void {
    if (nowMs - this.#lookedAtMs > stallMs) this.#steadySinceMs = nowMs
    this.#lookedAtMs = nowMs
    this.host.relay.takeBackOlder(relayMsMax)
    const doubted = new Set<DeviceId>()
    const answering = new Set<SdsId>()
    for (const session of this.path.sessions) {
      const { deviceId, answeredAtMs } = session
      const silentMs = Math.min(session.silentMs(nowMs), nowMs - this.#steadySinceMs)
      if (silentMs >= silenceMs && !this.#suspects.has(deviceId)) this.#suspects.set(deviceId, nowMs)
      if (answeredAtMs > (this.#suspects.get(deviceId) ?? Number.POSITIVE_INFINITY)) this.#suspects.delete(deviceId)
      if (silentMs >= doubtMs || this.#suspects.has(deviceId)) doubted.add(deviceId)
      if (nowMs - answeredAtMs < silenceMs) this.#addSds(answering, deviceId)
    }
    const silent = new Set<SdsId>()
    for (const deviceId of this.#suspects.keys()) if (!this.#addSds(silent, deviceId)) this.#suspects.delete(deviceId)
    const asked = [...this.#suspects.keys(), ...this.#othersOf(doubted), ...this.#neighboursOf(doubted)]
    for (const deviceId of new Set(asked)) this.path.probe(deviceId)
    this.#report(silent, answering)
  }

  #report(silent: Set<SdsId>, answering: Set<SdsId>): void {
    // One SDS listens for all of its devices.
    const unreachable = [...silent].filter(id => !answering.has(id)).slice(0, listedMax)
    if (unreachable.length === 0 && !this.#wasTold) return
    this.#wasTold = unreachable.length > 0
    this.tell({ unreachable, reached: [...answering].slice(0, listedMax) })
  }

  /** One device of each SDS that holds the second copy of what these devices lead. */
  #othersOf(primaries: ReadonlySet<DeviceId>): Iterable<DeviceId> {
    const others = new Map<SdsId, DeviceId>()
    if (primaries.size === 0) return others.values()
    const { tables, slices } = this.host.map
    for (const records of slices.values())
      for (const { primary, secondary } of records) {
        const sdsId = secondary !== null && primaries.has(primary) && tables.devices.get(secondary)?.sdsId
        if (sdsId && !others.has(sdsId)) others.set(sdsId, secondary)
      }
    return others.values()
  }

  /** Other devices of their SDSs: where the relay alone reads, nobody here hears that they answer. */
  #neighboursOf(doubted: ReadonlySet<DeviceId>): DeviceId[] {
    const sdsIds = new Set<SdsId>()
    for (const deviceId of doubted) this.#addSds(sdsIds, deviceId)
    const { devices } = this.host.map.tables
    const known = [...this.path.sessions].map(({ deviceId }) => deviceId)
    return sdsIds.size === 0 ? [] : known.filter(id => !doubted.has(id) && sdsIds.has(devices.get(id)?.sdsId as SdsId))
  }

  #addSds(set: Set<SdsId>, deviceId: DeviceId): boolean {
    const sdsId = this.host.map.tables.devices.get(deviceId)?.sdsId
    if (sdsId !== undefined) set.add(sdsId)
    return sdsId !== undefined
  }
}
