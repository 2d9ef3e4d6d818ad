import type { DeviceId } from '../base/ids.js'
import type { Endpoint } from '../model/index.js'
import type { DataFrame } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { Peer } from './peer.js'

/** Who hears how a request to another copy went. */
export interface CopyOwner {
  /** `status` as on the wire, or `linkLost` for a request that is not sent again. */
  copyAnswered(send: CopySend, status: number, reply: DataFrame | null): void
}

/** Status of a request whose session ended before the answer, and which may not be sent again. */
export const linkLost = -1

/** One request on its way to another copy. */
export class CopySend {
  constructor(
    readonly owner: CopyOwner,
    readonly peer: Peer,
    /** Gets a new requestId at each sending. */
    readonly frame: DataFrame,
    /** Sent again on the next session. Filling a joining copy starts over instead. */
    readonly isKept: boolean,
  ) {}

  /** The answer is of no interest any more; none is reported. */
  abandon(): void {
    this.peer.abandon(this)
  }
}

const beatMs = 1_000

/** The sessions of this SDS with the devices of others (and with its own, when a copy moves within one SDS). */
export class Peers {
  readonly #peers = new Map<DeviceId, Peer>()
  #isClosed = false

  constructor(
    readonly context: SdsContext,
    /** Where a device is served now, from the map. */
    readonly endpointOf: (deviceId: DeviceId) => Endpoint | null,
    /** A session with the device is up. */
    readonly onUp: (deviceId: DeviceId) => void,
  ) {
    this.#beat()
  }

  /** Sends a request made by `makeFrame` to `deviceId`; `frame.requestId` and `mapVersion` are set at each sending. */
  send(owner: CopyOwner, deviceId: DeviceId, frame: DataFrame, isKept: boolean): CopySend {
    const send = new CopySend(owner, this.of(deviceId), frame, isKept)
    send.peer.send(send)
    return send
  }

  of(deviceId: DeviceId): Peer {
    let peer = this.#peers.get(deviceId)
    if (peer === undefined) {
      peer = new Peer(this.context, this, deviceId)
      this.#peers.set(deviceId, peer)
      if (this.#isClosed) peer.close()
    }
    return peer
  }

  isUp(deviceId: DeviceId): boolean {
    return this.#peers.get(deviceId)?.isUp ?? false
  }

  /** The map changed: whoever could not be reached may be now, and somewhere else. */
  mapChanged(): void {
    for (const peer of this.#peers.values()) {
      if (this.endpointOf(peer.deviceId) === null && !peer.hasOutstanding) {
        peer.close()
        this.#peers.delete(peer.deviceId)
      } else peer.mapChanged()
    }
  }

  /** This SDS was removed from the system and added again: it has another id. */
  renumbered(): void {
    for (const peer of this.#peers.values()) peer.renumbered()
  }

  get outstandingNow(): number {
    let total = 0
    for (const peer of this.#peers.values()) total += peer.outstandingNow
    return total
  }

  close(): void {
    this.#isClosed = true
    for (const peer of this.#peers.values()) peer.close()
  }

  #beat(): void {
    this.context.clock.setTimer(beatMs, () => {
      if (this.#isClosed) return
      for (const peer of this.#peers.values()) peer.beat()
      this.#beat()
    })
  }
}
