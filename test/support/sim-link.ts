import { StorageError } from '../../src/base/errors.js'
import type { Endpoint } from '../../src/model/objects.js'
import type { Clock } from '../../src/ports/clock.js'
import type { Connection, ConnectionHandlers, Link, Listener } from '../../src/ports/link.js'
import type { Random } from '../../src/ports/random.js'
import type { ControlMessage } from '../../src/wire/control.js'
import type { DataFrame } from '../../src/wire/data.js'
import type { ProcessClock } from './sim-clock.js'
import { type Codec, controlCodec, dataCodec, SimEnd } from './sim-connection.js'

type Protocol = 'data' | 'control'

interface Door {
  owner: string
  protocol: Protocol
  accept: (connection: Connection<never>) => ConnectionHandlers<never>
}

/**
 * A network in memory. Places are process names or `host:port`; messages go through the real encoders and parsers, in
 * pieces of any size, in order, after a delay.
 */
export class SimNetwork {
  readonly #doors = new Map<string, Door>()
  readonly #ends = new Set<SimEnd<never>>()
  readonly #cuts: [string, string][] = []
  /** One way only: from the first to the second. */
  readonly #mutes: [string, string][] = []
  readonly #slow: { a: string; b: string; delayMs: number }[] = []
  readonly #refused = new Set<string>()
  #nextPort = 20_000
  /** Since the beginning, by everybody. */
  connectionsBegun = 0
  latencyMs = 0.2
  /** Up to this much more, at random. */
  jitterMs = 0.1
  connectTimeoutMs = 3_000
  /** After a cut each connection comes to life by itself, within this: retransmissions have their own times. */
  releaseMs = 0
  /** The process that runs under a name now; null: no such bookkeeping. */
  processOf: (owner: string) => ProcessClock | null = () => null
  isHostUp: (owner: string) => boolean = () => true

  constructor(
    readonly clock: Clock,
    readonly random: Random,
  ) {}

  /** The network as the process `owner` sees it. */
  linkOf(owner: string): Link {
    return {
      connectData: (to, handlers) => this.#connect<DataFrame>(owner, 'data', dataCodec, to, handlers),
      connectControl: (to, handlers) => this.#connect<ControlMessage>(owner, 'control', controlCodec, to, handlers),
      listenData: (at, accept) => this.#listen(at, { owner, protocol: 'data', accept: accept as Door['accept'] }),
      listenControl: (at, accept) => this.#listen(at, { owner, protocol: 'control', accept: accept as Door['accept'] }),
    }
  }

  /** Nothing passes between the two places until `heal`; what was sent waits, as in TCP. */
  cut(a: string, b: string): void {
    this.#cuts.push([a, b])
  }
  /** Nothing passes from `from` to `to`; the other way it does, and no new connections are made. */
  mute(from: string, to: string): void {
    this.#mutes.push([from, to])
  }
  /** Whatever goes between the two takes `delayMs` more. */
  slow(a: string, b: string, delayMs: number): void {
    this.#slow.push({ a, b, delayMs })
  }
  /** Ends all cuts and delays, or those between the two places. */
  heal(a?: string, b?: string): void {
    const stays = (pair: readonly string[]) =>
      a !== undefined && !(pair.includes(a) && (b === undefined || pair.includes(b)))
    for (const pairs of [this.#cuts, this.#mutes]) pairs.splice(0, pairs.length, ...pairs.filter(stays))
    this.#slow.splice(0, this.#slow.length, ...this.#slow.filter(({ a, b }) => stays([a, b])))
    for (const end of this.#ends) end.release(this.releaseMs === 0 ? 0 : this.random.integer(this.releaseMs))
  }
  /** What has arrived at a process that did not run. */
  wake(owner: string): void {
    for (const end of this.#ends) if (end.owner === owner) end.wake()
  }
  /** Ends the connections between the two places; both sides hear it. What was under way is lost. */
  drop(a: string, b?: string): void {
    for (const end of [...this.#ends]) {
      const between = b === undefined ? this.#isAt(end, a) : this.#joins(end, a, b)
      if (between) end.ended('connection reset')
    }
  }
  /** New connections to the endpoint are refused until `accept`. */
  refuse(at: Endpoint): void {
    this.#refused.add(text(at))
  }
  accept(at: Endpoint): void {
    this.#refused.delete(text(at))
  }

  /** The process is gone: its doors close, the other sides hear that the connection ended. */
  crash(owner: string): void {
    for (const [at, door] of this.#doors) if (door.owner === owner) this.#doors.delete(at)
    for (const end of [...this.#ends]) if (end.owner === owner) end.abandon()
  }

  /** The host lost power: its doors are gone and nobody is told. */
  vanish(owner: string): void {
    for (const [at, door] of this.#doors) if (door.owner === owner) this.#doors.delete(at)
    for (const end of [...this.#ends]) if (end.owner === owner) end.vanish()
  }

  /** Whether nothing arrives at this end. */
  isCut(end: SimEnd<never>): boolean {
    return (
      this.#cuts.some(([a, b]) => this.#joins(end, a, b)) ||
      this.#mutes.some(([from, to]) => this.#names(end, to) && this.#names(end.peer!, from))
    )
  }

  delayMs(): number {
    return this.latencyMs + (this.jitterMs * this.random.integer(1000)) / 1000
  }

  /** The way of one piece to `end`. */
  delayOf(end: SimEnd<never>): number {
    let delayMs = this.delayMs()
    for (const slow of this.#slow) if (this.#joins(end, slow.a, slow.b)) delayMs += slow.delayMs
    return delayMs
  }

  gone(end: SimEnd<never>): void {
    this.#ends.delete(end)
  }

  #joins(end: SimEnd<never>, a: string, b: string): boolean {
    return (this.#names(end, a) && this.#names(end.peer!, b)) || (this.#names(end, b) && this.#names(end.peer!, a))
  }
  #isAt(end: SimEnd<never>, place: string): boolean {
    return this.#names(end, place) || this.#names(end.peer!, place)
  }
  #names(end: SimEnd<never>, place: string): boolean {
    return end.owner === place || text(end.local) === place
  }

  #connect<Message>(
    owner: string,
    protocol: Protocol,
    codec: Codec<Message>,
    to: Endpoint,
    handlers: ConnectionHandlers<Message>,
  ): Connection<Message> {
    this.connectionsBegun++
    const from = { host: '127.0.0.1', port: this.#nextPort++ }
    const near = new SimEnd<Message>(this, owner, from, to, codec)
    const far = new SimEnd<Message>(this, this.#doors.get(text(to))?.owner ?? '', to, from, codec)
    near.peer = far
    far.peer = near
    near.handlers = handlers
    this.#ends.add(near as unknown as SimEnd<never>)
    const arrive = (waitedMs: number) => {
      if (near.isClosed) return
      const door = this.#doors.get(text(to))
      far.owner = door?.owner ?? far.owner
      if (this.#isBlocked(near, door)) {
        if (waitedMs >= this.connectTimeoutMs) return near.ended('connection timed out')
        this.clock.setTimer(100, () => arrive(waitedMs + 100))
        return
      }
      if (door === undefined || this.#refused.has(text(to))) return near.ended('connection refused', 'refused')
      if (door.protocol !== protocol) return near.ended('the other side speaks another protocol')
      far.process = this.processOf(far.owner)
      this.#ends.add(far as unknown as SimEnd<never>)
      far.handlers = (door.accept as unknown as (c: Connection<Message>) => ConnectionHandlers<Message>)(far)
      near.up()
      far.up()
      far.process?.onEvent?.()
    }
    this.clock.setTimer(this.delayMs(), () => arrive(0))
    return near
  }

  /** No handshake gets through, or nobody at the door runs to accept. */
  #isBlocked<Message>(near: SimEnd<Message>, door: Door | undefined): boolean {
    const end = near as unknown as SimEnd<never>
    if (this.isCut(end) || this.isCut(end.peer!)) return true
    return door !== undefined && (this.processOf(door.owner)?.isStalled ?? false)
  }

  async #listen(at: Endpoint, door: Door): Promise<Listener> {
    const endpoint = { host: at.host, port: at.port || this.#nextPort++ }
    if (this.#doors.has(text(endpoint))) throw new StorageError('UNREACHABLE', { address: text(endpoint) })
    this.#doors.set(text(endpoint), door)
    return {
      endpoint,
      close: async () => {
        if (this.#doors.get(text(endpoint)) === door) this.#doors.delete(text(endpoint))
      },
    }
  }
}

const text = (at: Endpoint) => `${at.host}:${at.port}`

/** A network for a test that has one process, or does not care which is which. */
export function simLink({ clock, random }: { clock: Clock; random: Random }): Link & { network: SimNetwork } {
  const network = new SimNetwork(clock, random)
  return { ...network.linkOf('here'), network }
}
