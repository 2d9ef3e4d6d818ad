import { errorCodeOfWire, errorTable, StorageError } from '../base/errors.js'
import type { DeviceId, MappingId, PoolId } from '../base/ids.js'
import type { ClusterMap, MapDelta, SliceRecord } from '../model/index.js'
import type { Connection, Timer } from '../ports/index.js'
import { decode } from '../wire/codec.js'
import type { DataFrame } from '../wire/data.js'
import { DeviceSession, type SessionHost, type SessionItem } from './device-session.js'

/** A request that goes to whichever device is primary of its slice. */
export interface RoutedItem extends SessionItem {
  readonly routed: true
  readonly poolId: PoolId
  readonly mappingId: MappingId
  readonly slice: number
  /** Of the last sending. */
  epoch: number
  /** Counts up over all requests: those that waited go out in the order in which they came. */
  order: number
  /** When it was first refused as not mapped, although the map says that it is; 0: never. */
  notMappedSinceMs: number
  /** It cannot succeed. */
  onFailed(error: StorageError): void
}

/** What the data path needs of the daemon. */
export interface DataPathHost extends SessionHost {
  readonly map: ClusterMap
  /** Map changes that an SDS handed over; the daemon applies what continues its map, and calls `onMapChange`. */
  offerDeltas(deltas: MapDelta[]): void
}

/** A slice whose requests were refused: all of them wait together, so that their order stays and nobody is flooded. */
interface Trouble {
  waiting: RoutedItem[]
  /** False between a release and the answers that show whether it is over. */
  holding: boolean
  tries: number
  retryAtMs: number
  /** Of the record in which it was refused: a newer one is worth trying at once. */
  epoch: number
}

const retryMsMin = 10
const retryMsMax = 500
/** How long the map may say that a volume is mapped while an SDS says that it is not. */
const notMappedMsMax = 15_000

/**
 * From a slice to its primary: chooses the session, and sends again what was refused or went to a device that is no
 * longer primary (rule 7).
 */
export class DataPath {
  readonly #sessions = new Map<DeviceId, DeviceSession>()
  readonly #troubles = new Map<string, Trouble>()
  #retryTimer: Timer | null = null
  #retryTimerAtMs = Number.POSITIVE_INFINITY
  #orders = 0
  #closed = false
  /** For the metrics. */
  refusals = 0

  constructor(readonly host: DataPathHost) {}

  get sessions(): Iterable<DeviceSession> {
    return this.#sessions.values()
  }
  get troubledSlices(): number {
    return this.#troubles.size
  }

  recordOf(poolId: PoolId, slice: number): SliceRecord | undefined {
    return this.host.map.slices.get(poolId)?.[slice]
  }

  /** Where a request of the slice would go now, if nothing is in its way. */
  wayTo(poolId: PoolId, slice: number): { connection: Connection<DataFrame>; epoch: number } | null {
    const record = this.recordOf(poolId, slice)
    if (record === undefined || this.#troubles.size > 0) return null
    const connection = this.#sessions.get(record.primary)?.connection ?? null
    return connection === null ? null : { connection, epoch: record.epoch }
  }

  /** Sends to one device, whatever it is of a slice. */
  ask(deviceId: DeviceId, item: SessionItem): void {
    if (!this.#closed) this.#sessionOf(deviceId).add(item)
  }

  /** Finds out whether a device answers. */
  probe(deviceId: DeviceId): void {
    if (!this.#closed) this.#sessionOf(deviceId).probe()
  }

  #sessionOf(deviceId: DeviceId): DeviceSession {
    let session = this.#sessions.get(deviceId)
    if (session === undefined) {
      session = new DeviceSession(deviceId, this.host, frame => this.learn(frame))
      this.#sessions.set(deviceId, session)
    }
    return session
  }

  /** A new request. */
  submit(item: RoutedItem): void {
    item.order = ++this.#orders
    this.#route(item)
  }

  /** Wherever the request is, it is there no longer. */
  takeBack(item: RoutedItem): void {
    if (item.keptBy !== null) {
      item.keptBy.takeBack(item)
      return
    }
    const trouble = this.#troubles.get(keyOf(item))
    const at = trouble?.waiting.indexOf(item) ?? -1
    if (at >= 0) trouble!.waiting.splice(at, 1)
  }

  /** Visits all routed requests, sent or waiting. The visitor may take back the one that it is given. */
  forEachRouted(visit: (item: RoutedItem, sent: boolean) => void): void {
    for (const trouble of this.#troubles.values()) for (const item of [...trouble.waiting]) visit(item, false)
    for (const session of this.#sessions.values())
      session.forEachKept(item => {
        if (isRouted(item)) visit(item, item.requestId !== 0)
      })
  }

  /** An answer with status 0 to a request of this slice: whatever the trouble was, it is over. */
  succeeded(item: RoutedItem): void {
    if (this.#troubles.size === 0) return
    const trouble = this.#troubles.get(keyOf(item))
    if (trouble !== undefined && trouble.waiting.length === 0) this.#troubles.delete(keyOf(item))
  }

  /** An answer with a status: sends the request again, now or later, or fails it. */
  refused(item: RoutedItem, frame: DataFrame): void {
    this.refusals++
    const code = errorCodeOfWire(frame.status)
    if (code === 'STALE_EPOCH') {
      const { epoch } = item
      this.learn(frame)
      const record = this.recordOf(item.poolId, item.slice)
      if (record !== undefined && record.epoch > epoch) this.#route(item)
      else this.#hold(item)
    } else if (code === 'NOT_MAPPED' && this.#mayBeMapped(item)) this.#hold(item)
    else if (errorTable[code].retry) this.#hold(item)
    else item.onFailed(new StorageError(code, { detail: sentenceOf(frame) }))
  }

  /** Takes over the map changes that came with a refusal. */
  learn(frame: DataFrame): void {
    if (frame.bodyBytes === 0) return
    try {
      this.host.offerDeltas(decode(Buffer.concat(frame.body)) as MapDelta[])
    } catch (error) {
      // The MDM tells the same; a malformed body only costs time.
      this.host.log.warn('map.offerMalformed', { reason: String(error) })
    }
  }

  /** After the map has changed: what went to a device that is no longer primary goes to the new one. */
  onMapChange(): void {
    this.host.relay.takeBackAll()
    const moved: RoutedItem[] = []
    for (const session of this.#sessions.values()) {
      session.forEachKept(item => {
        if (!isRouted(item)) return
        if (this.recordOf(item.poolId, item.slice)?.primary === session.deviceId) return
        session.takeBack(item)
        moved.push(item)
      })
      session.onMapChange()
    }
    for (const [key, trouble] of this.#troubles) {
      const [poolId, slice] = key.split('/') as [PoolId, string]
      const epoch = this.recordOf(poolId, Number(slice))?.epoch ?? 0
      if (trouble.holding && epoch > trouble.epoch) this.#release(trouble, moved)
    }
    this.#routeAll(moved)
    this.#closeUnknown()
  }

  /** This SDC was removed from the system and has registered again: its sessions are those of another client. */
  renumbered(): void {
    for (const session of this.#sessions.values()) session.renumbered()
  }

  /** Ends all sessions. What is under way, and whatever still comes, is never answered. */
  close(): void {
    this.#closed = true
    this.#retryTimer?.cancel()
    this.#troubles.clear()
    for (const session of this.#sessions.values()) {
      session.forEachKept(item => session.takeBack(item))
      session.close()
    }
    this.#sessions.clear()
  }

  // ----

  #route(item: RoutedItem): void {
    if (this.#closed) return
    const record = this.recordOf(item.poolId, item.slice)
    const trouble = this.#troubles.size > 0 ? this.#troubles.get(keyOf(item)) : undefined
    if (trouble?.holding) trouble.waiting.push(item)
    else if (record === undefined) this.#hold(item)
    else this.#sessionOf(record.primary).add(item)
  }

  #routeAll(items: RoutedItem[]): void {
    items.sort((a, b) => a.order - b.order)
    for (const item of items) this.#route(item)
  }

  #hold(item: RoutedItem): void {
    const key = keyOf(item)
    let trouble = this.#troubles.get(key)
    if (trouble === undefined) {
      trouble = { waiting: [], holding: false, tries: 0, retryAtMs: 0, epoch: 0 }
      this.#troubles.set(key, trouble)
    }
    trouble.waiting.push(item)
    if (trouble.holding) return
    trouble.holding = true
    trouble.epoch = this.recordOf(item.poolId, item.slice)?.epoch ?? 0
    trouble.retryAtMs = this.host.clock.nowMs() + Math.min(retryMsMax, retryMsMin * 2 ** Math.min(trouble.tries++, 10))
    this.#armRetry(trouble.retryAtMs)
  }

  #release(trouble: Trouble, into: RoutedItem[]): void {
    trouble.holding = false
    into.push(...trouble.waiting)
    trouble.waiting = []
  }

  #armRetry(atMs: number): void {
    if (atMs >= this.#retryTimerAtMs) return
    this.#retryTimer?.cancel()
    this.#retryTimerAtMs = atMs
    this.#retryTimer = this.host.clock.setTimer(atMs - this.host.clock.nowMs(), () => this.#retry())
  }

  #retry(): void {
    this.#retryTimerAtMs = Number.POSITIVE_INFINITY
    const nowMs = this.host.clock.nowMs()
    const due: RoutedItem[] = []
    let nextAtMs = Number.POSITIVE_INFINITY
    for (const trouble of this.#troubles.values()) {
      if (!trouble.holding) continue
      if (trouble.retryAtMs <= nowMs) this.#release(trouble, due)
      else nextAtMs = Math.min(nextAtMs, trouble.retryAtMs)
    }
    if (nextAtMs !== Number.POSITIVE_INFINITY) this.#armRetry(nextAtMs)
    this.#routeAll(due)
  }

  #mayBeMapped(item: RoutedItem): boolean {
    if (!this.host.map.tables.mappings.has(item.mappingId)) return false
    const nowMs = this.host.clock.nowMs()
    item.notMappedSinceMs ||= nowMs
    return nowMs - item.notMappedSinceMs < notMappedMsMax
  }

  /** Devices that have left the system keep no connection. */
  #closeUnknown(): void {
    for (const [deviceId, session] of this.#sessions) {
      if (session.keptCount > 0 || this.host.map.tables.devices.has(deviceId)) continue
      session.close()
      this.#sessions.delete(deviceId)
    }
  }
}

const isRouted = (item: SessionItem): item is RoutedItem => 'routed' in item

const keyOf = (item: RoutedItem): string => `${item.poolId}/${item.slice}`

const sentenceOf = (frame: DataFrame): string => Buffer.concat(frame.body).toString('utf8').slice(0, 1000)
