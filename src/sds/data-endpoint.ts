import { type ErrorCode, errorTable, StorageError } from '../base/errors.js'
import type { DeviceId } from '../base/ids.js'
import { mutate } from '../base/mutation.js'
import type { Endpoint } from '../model/index.js'
import type { Connection, ConnectionHandlers, Listener, Timer } from '../ports/index.js'
import { encode } from '../wire/codec.js'
import { type DataFrame, type DataHello, type DataWelcome, makeReply, opcodes } from '../wire/data.js'
import type { SdsContext } from './context.js'
import { dispatch, expireParked, unpark } from './dispatch.js'
import { checkHello, parseHello, Seniority } from './hello.js'
import { LeaseSession } from './lease-session.js'
import { parseDeltas } from './map-changes.js'
import { Session } from './session.js'

const helloMsMax = 10_000
const expireEveryMs = 250
/** Lets a refusal leave before the connection ends. */
const lingerMs = 100
const connectionsMax = 4_096

/** Where SDCs, other SDSs and the checker come in: one door for all devices; `hello` says for which. */
export class DataEndpoint {
  readonly #sessions = new Set<Session>()
  readonly #leases = new Set<LeaseSession>()
  readonly #seniority = new Seniority()
  /** Connections that have not said hello, or were refused. */
  #strangers = 0
  #listener: Listener | null = null
  #expiry: Timer | null = null
  #isClosed = false

  constructor(readonly context: SdsContext) {}

  async listen(at: Endpoint): Promise<Endpoint> {
    this.#listener = await this.context.link.listenData(at, connection => this.#accept(connection))
    this.#expire()
    return this.#listener.endpoint
  }

  get hasLocalDoor(): boolean {
    return this.#listener?.hasLocalDoor ?? false
  }
  get sessionsNow(): number {
    return this.#sessions.size
  }
  get sessions(): Iterable<Session> {
    return this.#sessions
  }

  /** Requests that waited for the map are looked at again. */
  unpark(): void {
    for (const session of [...this.#sessions]) if (session.parked.length > 0) unpark(session)
  }

  /** Sessions of a device that was closed. */
  endSessionsOf(deviceId: DeviceId): void {
    for (const session of [...this.#sessions]) if (session.device.id === deviceId) this.#end(session)
  }

  /** Nobody new comes in; SDCs are not listened to any more, other SDSs are until `close`. */
  async stopAccepting(): Promise<void> {
    for (const session of this.#sessions) if (session.kind !== 'sds') session.stopReading()
    await this.#listener?.close()
  }

  stopReading(): void {
    for (const session of this.#sessions) session.stopReading()
  }

  /** Answers that have not left yet. */
  get queuedBytes(): number {
    let total = 0
    for (const session of this.#sessions) total += session.connection.queuedBytes
    return total
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#expiry?.cancel()
    for (const session of [...this.#sessions, ...this.#leases]) this.#end(session)
    await this.#listener?.close()
  }

  #accept(connection: Connection<DataFrame>): ConnectionHandlers<DataFrame> {
    let session: Session | LeaseSession | null = null
    let isRefused = this.#isClosed || this.#strangers + this.#sessions.size + this.#leases.size >= connectionsMax
    this.#strangers++
    const leave = () => {
      connection.close()
      this.#strangers--
    }
    const { clock } = this.context
    let timer: Timer = clock.setTimer(isRefused ? 0 : helloMsMax, leave)
    return {
      onMessage: frame => {
        if (session instanceof LeaseSession) return session.received(frame)
        if (session !== null) return this.#received(session, frame)
        if (isRefused) return
        timer.cancel()
        session = this.#hello(connection, frame)
        isRefused = session === null
        if (isRefused) timer = clock.setTimer(lingerMs, leave)
        else this.#strangers--
      },
      onClose: () => {
        timer.cancel()
        if (session === null) this.#strangers--
        else this.#end(session)
      },
    }
  }

  /** The session, welcomed; or null, refused. */
  #hello(connection: Connection<DataFrame>, frame: DataFrame): Session | LeaseSession | null {
    const hello = frame.opcode === opcodes.hello ? parseHello(frame) : null
    const refusal: StorageError | null =
      hello === null
        ? new StorageError('PROTOCOL', { field: 'hello' })
        : checkHello(this.context, this.#seniority, hello)
    if (refusal !== null || hello === null) {
      const level = hello?.kind === 'lease' ? 'debug' : 'info'
      this.context.log[level]('sds.hello-refused', { remote: connection.remote, reason: refusal!.message })
      connection.send(makeReply(frame, statusOf(refusal!.code), [Buffer.from(refusal!.message)]))
      return null
    }
    if (hello.kind === 'lease') return this.#welcomeLease(connection, frame, hello)
    const session = new Session(
      this.context,
      this.context.devices.get(hello.deviceId as DeviceId)!,
      connection,
      hello,
      dispatch,
    )
    // Older sessions of the client end before this one is served: what they had not got applied never will be.
    if (hello.kind !== 'check' && !mutate('serve-an-old-session'))
      for (const older of [...this.#sessions])
        if (older.kind === hello.kind && older.client === hello.client && older.device === session.device)
          this.#end(older)
    this.#sessions.add(session)
    this.context.counters.sessionsOpened++
    this.#welcome(connection, frame)
    if (hello.kind === 'sds') this.context.leases.shown(hello.client, hello.mapVersion)
    return session
  }

  #welcomeLease(connection: Connection<DataFrame>, frame: DataFrame, hello: DataHello): LeaseSession {
    for (const older of [...this.#leases]) if (older.hello.client === hello.client) this.#end(older)
    const session = new LeaseSession(this.context, connection, hello)
    this.#leases.add(session)
    this.#welcome(connection, frame)
    this.context.leases.shown(hello.client, hello.mapVersion)
    return session
  }

  #welcome(connection: Connection<DataFrame>, frame: DataFrame): void {
    const welcome: DataWelcome = { sdsId: this.context.sdsId!, mapVersion: this.context.view.version }
    connection.send(makeReply(frame, 0, [encode(welcome)]))
  }

  #received(session: Session, frame: DataFrame): void {
    if (session.isEnded) return
    if (frame.opcode === opcodes.ping) session.connection.send(makeReply(frame, 0))
    else if (frame.opcode === opcodes.mapChanges) {
      const deltas = session.kind === 'sds' ? parseDeltas(frame.body) : null
      if (deltas !== null) this.context.takeChanges(deltas)
    } else if (!this.context.isStopping || session.kind === 'sds') session.received(frame)
  }

  #end(session: Session | LeaseSession): void {
    const wasOpen = session instanceof LeaseSession ? this.#leases.delete(session) : this.#sessions.delete(session)
    if (wasOpen) session.end()
  }

  #expire(): void {
    this.#expiry = this.context.clock.setTimer(expireEveryMs, () => {
      const nowMs = this.context.clock.nowMs()
      for (const session of this.#sessions) expireParked(session, nowMs)
      this.#expire()
    })
  }
}

const statusOf = (code: ErrorCode): number => errorTable[code].wire
