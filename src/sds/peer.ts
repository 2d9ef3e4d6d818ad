import { assert } from '../base/assert.js'
import { errorTable } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { NumberMap } from '../base/number-map.js'
import type { Endpoint } from '../model/index.js'
import type { Connection, Timer } from '../ports/index.js'
import { encode } from '../wire/codec.js'
import { type DataFrame, type DataHello, frameFlags, makeFrame, opcodes } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { parseWelcome } from './hello.js'
import { encodeDeltas, parseDeltas } from './map-changes.js'
import { type CopySend, linkLost, type Peers } from './replicas.js'

/** From here on request ids are those of writes below TypeScript, see native/src/write-lane.cc. */
const laneIdsFrom = 2 ** 31
const backoffMsMin = 50
const backoffMsMax = 2_000
const retryMs = 200
const helloMsMax = 5_000
const silenceMsPing = 2_000
const silenceMsMax = 10_000

/**
 * This SDS as a client of one device of another (design section 5, rule 7). Keeps every request until it is answered;
 * when a session ends it opens a new one, with a higher counter, and sends them again in order. Each sending has a new
 * requestId, so that only the answer to the last one counts.
 */
export class Peer {
  readonly #outstanding = new NumberMap<CopySend>()
  #connection: Connection<DataFrame> | null = null
  #endpoint: Endpoint | null = null
  #timer: Timer | null = null
  #isUp = false
  #isClosed = false
  /** Connections that were begun. */
  #attempts = 0
  #nextId = 1
  #backoffMs = backoffMsMin
  #mapVersion = 0
  #heardMs = 0

  constructor(
    readonly context: SdsContext,
    readonly peers: Peers,
    readonly deviceId: DeviceId,
  ) {}

  get isUp(): boolean {
    return this.#isUp
  }
  /** Of the session; null: there is none. */
  get upConnection(): Connection<DataFrame> | null {
    return this.#isUp ? this.#connection : null
  }
  get outstandingNow(): number {
    return this.#outstanding.size
  }
  get hasOutstanding(): boolean {
    return this.#outstanding.size > 0
  }

  send(send: CopySend): void {
    if (this.#isClosed) return
    this.#number(send)
    if (this.#isUp) this.#transmit(send)
    else if (send.isKept) this.connect()
    else {
      this.#outstanding.delete(send.frame.requestId)
      this.context.clock.endOfTurn(() => send.owner.copyAnswered(send, linkLost, null))
    }
  }

  abandon(send: CopySend): void {
    if (this.#outstanding.get(send.frame.requestId) === send) this.#outstanding.delete(send.frame.requestId)
  }

  /** Sends once more, a little later: the other side was not ready, or had no room. */
  sendLater(send: CopySend, delayMs = retryMs): void {
    this.#number(send)
    const { requestId } = send.frame
    this.context.clock.setTimer(delayMs, () => {
      if (this.#outstanding.get(requestId) === send && this.#isUp) this.#transmit(send)
    })
  }

  connect(): void {
    if (this.#connection !== null || this.#timer !== null || this.#isClosed) return
    this.#endpoint = this.peers.endpointOf(this.deviceId)
    if (this.#endpoint === null || this.context.systemId === null) return
    const connection = this.context.link.connectData(this.#endpoint, {
      onMessage: frame => this.#received(frame),
      onClose: reason => this.#lost(reason),
    })
    this.#connection = connection
    this.#attempts++
    const hello: DataHello = {
      systemId: this.context.systemId,
      kind: 'sds',
      client: this.context.number,
      incarnation: this.context.incarnation,
      counter: ++this.context.sessionsOpened,
      deviceId: this.deviceId,
      mapVersion: this.context.view.version,
    }
    connection.send(makeFrame({ opcode: opcodes.hello, body: [encode(hello)] }))
    this.#timer = this.context.clock.setTimer(helloMsMax, () => this.#drop('no answer to hello'))
  }

  mapChanged(): void {
    const now = this.peers.endpointOf(this.deviceId)
    const moved = now?.host !== this.#endpoint?.host || now?.port !== this.#endpoint?.port
    if (this.#connection !== null) {
      if (moved && this.#endpoint !== null) this.#drop('the device has another endpoint')
      return
    }
    // A restarted SDS is in the map the moment it can be reached again: no need to sit out the pause.
    if (!this.hasOutstanding) return
    this.#timer?.cancel()
    this.#timer = null
    this.#backoffMs = backoffMsMin
    this.connect()
  }

  /** This SDS has another id: the session is one of the old id's, which is the primary of nothing. */
  renumbered(): void {
    if (this.#connection !== null) this.#drop('this SDS has another id')
  }

  /** Once a second: a silent session with open requests is asked whether it lives, and given up in the end. */
  beat(): void {
    if (!this.#isUp || !this.hasOutstanding) return
    const silenceMs = this.context.clock.nowMs() - this.#heardMs
    if (silenceMs > silenceMsMax) this.#drop('silent')
    else if (silenceMs > silenceMsPing) this.#connection!.send(makeFrame({ opcode: opcodes.ping }))
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#timer = null
    this.#connection?.close()
    this.#connection = null
    this.#isUp = false
    this.#outstanding.clear()
  }

  /** What is outstanding, in the order in which it was sent. */
  #inOrder(): CopySend[] {
    const age = (send: CopySend) => (this.#nextId - send.frame.requestId + laneIdsFrom) % laneIdsFrom
    return this.#outstanding.values().sort((a, b) => age(b) - age(a))
  }

  #number(send: CopySend): void {
    if (this.#outstanding.get(send.frame.requestId) === send) this.#outstanding.delete(send.frame.requestId)
    const requestId = this.#nextId
    this.#nextId = this.#nextId === laneIdsFrom - 1 ? 1 : this.#nextId + 1
    assert(this.#outstanding.get(requestId) === undefined, 'requestIds come round only after 2^31 requests')
    send.frame.requestId = requestId
    send.frame.mapVersion = this.context.view.version
    this.#outstanding.set(requestId, send)
  }

  #transmit(send: CopySend): void {
    const connection = this.#connection!
    const { view, ring } = this.context
    // Whoever is ahead hands over what the other lacks, ahead of the request that relies on it.
    if (this.#mapVersion < view.version) {
      const body = encodeDeltas(ring.since(this.#mapVersion))
      this.#mapVersion = view.version
      if (body !== null) connection.send(makeFrame({ opcode: opcodes.mapChanges, body: [body] }))
    }
    if (this.#outstanding.size === 1) this.#heardMs = this.context.clock.nowMs()
    connection.send(send.frame)
  }

  #received(frame: DataFrame): void {
    this.#heardMs = this.context.clock.nowMs()
    if ((frame.flags & frameFlags.reply) === 0) return
    if (frame.opcode === opcodes.hello) {
      this.#welcomed(frame)
      return
    }
    if (frame.requestId >= laneIdsFrom) {
      this.#laneRefused(frame)
      return
    }
    const send = this.#outstanding.get(frame.requestId)
    if (send === undefined || frame.opcode !== send.frame.opcode) return
    switch (frame.status) {
      case errorTable.NOT_READY.wire:
        if (!send.isKept) break
        this.sendLater(send)
        return
      case errorTable.STALE_EPOCH.wire:
        if (!send.isKept) break
        this.#refusedStale(send, frame)
        return
      case errorTable.NO_SESSION.wire:
        this.#drop('the session was ended by the other side')
        return
    }
    this.#outstanding.delete(frame.requestId)
    send.owner.copyAnswered(send, frame.status, frame)
  }

  /**
   * The other side knows a newer record. Its changes make the owner send again or give up (`mapChanged`); if it has
   * none to hand over the MDM's will come, and meanwhile the request is tried again.
   */
  #refusedStale(send: CopySend, frame: DataFrame): void {
    this.sendLater(send)
    const deltas = parseDeltas(frame.body)
    if (deltas !== null && deltas.length > 0) this.context.takeChanges(deltas)
  }

  /** The lane hands its write over by itself. */
  #laneRefused(frame: DataFrame): void {
    if (frame.status === errorTable.NO_SESSION.wire) this.#drop('the session was ended by the other side')
    const deltas = frame.status === errorTable.STALE_EPOCH.wire ? parseDeltas(frame.body) : null
    if (deltas !== null && deltas.length > 0) this.context.takeChanges(deltas)
  }

  #welcomed(frame: DataFrame): void {
    if (this.#isUp) return
    if (frame.status !== 0) {
      this.#drop(`hello was refused with status ${frame.status}`)
      return
    }
    const welcome = parseWelcome(frame)
    if (welcome === null) {
      this.#drop('malformed welcome')
      return
    }
    this.#timer?.cancel()
    this.#timer = null
    this.#isUp = true
    this.#backoffMs = backoffMsMin
    this.#mapVersion = welcome.mapVersion
    const again = this.#attempts > 1
    if (again) this.context.counters.peerReconnects++
    this.context.log.info('sds.peer-up', { deviceId: this.deviceId, again })
    for (const send of this.#inOrder()) {
      this.#number(send)
      this.#transmit(send)
    }
    this.peers.onUp(this.deviceId)
  }

  #drop(reason: string): void {
    // What was on it is sent again: it must not leave here too, when its payload may be gone already.
    this.#connection?.close(true)
    this.#lost(reason)
  }

  #lost(reason: string): void {
    if (this.#isClosed) return
    if (this.#isUp) this.context.log.warn('sds.peer-lost', { deviceId: this.deviceId, reason })
    this.#connection = null
    this.#isUp = false
    this.#timer?.cancel()
    this.#timer = null
    for (const send of this.#inOrder()) {
      if (send.isKept || this.#outstanding.get(send.frame.requestId) !== send) continue
      this.#outstanding.delete(send.frame.requestId)
      send.owner.copyAnswered(send, linkLost, null)
    }
    if (!this.hasOutstanding || this.#timer !== null || this.#connection !== null) return
    this.#timer = this.context.clock.setTimer(this.#backoffMs, () => {
      this.#timer = null
      this.connect()
    })
    this.#backoffMs = Math.min(backoffMsMax, this.#backoffMs * 2)
  }
}
