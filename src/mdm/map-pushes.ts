import { type ClusterMap, type MapDelta, wholeMap } from '../model/index.js'
import type { Clock } from '../ports/index.js'
import type { Peer } from './peer.js'
import { weightOf } from './weight.js'

/** Weight of the deltas kept for subscribers that come back; whoever is further behind gets the whole map. */
const weightKept = 4096
/** SDCs hear of a change when all connected SDSs have it in effect, or after this. */
export const sdcDelayMs = 500
/** Nothing more is pushed to a peer that does not take in what it has. */
const queuedBytesMax = 16 * 1024 * 1024

/**
 * Tells subscribers what was committed, in log order: SDSs at once, so that the copies know a change before anybody asks
 * them in its terms; everybody else after them.
 */
export class MapPushes {
  readonly #deltas: MapDelta[]
  #weight = 0
  readonly #subscribers = new Set<Peer>()
  /** What SDCs and tools may know. */
  #releasedVersion: number

  constructor(
    readonly map: ClusterMap,
    readonly clock: Clock,
    deltas: readonly MapDelta[],
  ) {
    this.#deltas = [...deltas]
    for (const delta of deltas) this.#weight += weightOf(delta)
    this.#trim()
    this.#releasedVersion = map.version
  }

  subscribe(peer: Peer, fromVersion: number): void {
    this.#subscribers.add(peer)
    peer.sentVersion = fromVersion
    this.#push(peer)
  }

  remove(peer: Peer): void {
    if (this.#subscribers.delete(peer)) this.#release()
  }

  applied(delta: MapDelta): void {
    this.#deltas.push(delta)
    this.#weight += weightOf(delta)
    this.#trim()
    for (const peer of this.#subscribers) if (peer.role === 'sds') this.#push(peer)
    this.#release()
    if (this.#releasedVersion < delta.version)
      this.clock.setTimer(sdcDelayMs, () => this.#releaseUpTo(Math.max(this.#releasedVersion, delta.version)))
  }

  #trim(): void {
    while (this.#weight > weightKept && this.#deltas.length > 1) this.#weight -= weightOf(this.#deltas.shift()!)
  }

  acked(peer: Peer, version: number): void {
    peer.ackedVersion = Math.max(peer.ackedVersion, Math.min(version, this.map.version))
    this.#push(peer)
    if (peer.role === 'sds') this.#release()
  }

  #release(): void {
    let version = this.map.version
    for (const peer of this.#subscribers) if (peer.role === 'sds') version = Math.min(version, peer.ackedVersion)
    if (version > this.#releasedVersion) this.#releaseUpTo(version)
  }

  #releaseUpTo(version: number): void {
    this.#releasedVersion = version
    for (const peer of this.#subscribers) if (peer.role !== 'sds') this.#push(peer)
  }

  #push(peer: Peer): void {
    const from = peer.sentVersion
    if (from === null || peer.closed || peer.connection.queuedBytes > queuedBytesMax) return
    const upTo = peer.role === 'sds' ? this.map.version : this.#releasedVersion
    if (from >= upTo) return
    const oldest = this.#deltas[0]?.version ?? Number.POSITIVE_INFINITY
    if (from === 0 || from + 1 < oldest) {
      // A newcomer may be told what SDSs have not confirmed yet: they wait for what they do not know.
      peer.notice('map', { whole: true, deltas: [wholeMap(this.map)] })
      peer.sentVersion = this.map.version
      return
    }
    const deltas = this.#deltas.slice(from + 1 - oldest, upTo + 1 - oldest)
    peer.notice('map', { whole: false, deltas })
    peer.sentVersion = upTo
  }
}
