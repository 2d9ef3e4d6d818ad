import { StorageError } from '../base/errors.js'
import type { MdmId } from '../base/ids.js'
import type { Endpoint, Mdm } from '../model/index.js'
import type { Clock, Link, Log, Timer } from '../ports/index.js'
import type { ControlMessage, PeerAnswers, PeerRequestName, PeerRequests, PeerWelcome } from '../wire/control.js'
import { Peer } from './peer.js'

const backoffMsMin = 100
const backoffMsMax = 1_000
/** After a refusal that only people can do something about. */
const backoffMsRefused = 2_000
const helloTimeoutMs = 2_000
const statusEveryMs = 500
/** One that answers nothing for so long is gone, whatever TCP believes. */
const statusTimeoutMs = 2_000

/** What a link needs of the MDM that it belongs to. */
export interface LinkOwner {
  readonly clock: Clock
  readonly link: Link
  readonly log: Log
  /** The parameters of `hello`. */
  helloFor(want: MdmId | null): unknown
  /** A notice or request of the other side. */
  take(peer: Peer, message: ControlMessage): void
  /** It is up, or was and is no more. */
  changed(link: MdmLink): void
  told(link: MdmLink, status: PeerAnswers['peerStatus']): void
}

/** Our connection to another MDM, which comes back by itself. */
export class MdmLink {
  #peer: Peer | null = null
  #timer: Timer | null = null
  #failures = 0
  #isClosed = false
  /** Whom we found there: set from its welcome to the end of the connection. */
  welcome: PeerWelcome | null = null
  /** Its last release known, for people. */
  release: string | null = null
  status: PeerAnswers['peerStatus'] | null = null
  /** When the connection came up. */
  upAtMs = 0
  /** Why it is not up. */
  failure: string | null = null

  constructor(
    readonly owner: LinkOwner,
    readonly id: MdmId,
    public endpoint: Endpoint,
  ) {
    this.#connect()
  }

  /** It is connected, and the other one is who it should be. */
  get isUp(): boolean {
    return this.welcome?.mdm.id === this.id && this.#peer !== null
  }
  /** Somebody is there who is not attached to any system. */
  get isUnattached(): boolean {
    return this.welcome !== null && this.welcome.mdm.id === null
  }
  get queuedBytes(): number {
    return this.#peer?.connection.queuedBytes ?? 0
  }

  notice(name: string, params: unknown): void {
    this.#peer?.notice(name, params)
  }

  ask<N extends PeerRequestName>(name: N, params: PeerRequests[N], timeoutMs: number): Promise<PeerAnswers[N]> {
    if (this.#peer === null)
      return Promise.reject(new StorageError('UNREACHABLE', { detail: 'the MDM is not connected', mdm: this.id }))
    return this.#peer.ask(name, params, timeoutMs) as Promise<PeerAnswers[N]>
  }

  /** Lets go and tries again now. */
  reconnect(): void {
    this.#drop('asked to', 0)
  }

  moveTo(endpoint: Endpoint): void {
    if (endpoint.host === this.endpoint.host && endpoint.port === this.endpoint.port) return
    this.endpoint = endpoint
    this.reconnect()
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
    this.#end()
  }

  #connect(): void {
    const { owner } = this
    const connection = owner.link.connectControl(this.endpoint, {
      onMessage: message => {
        if (this.#peer !== peer) return
        try {
          if (message.kind === 'answer') peer.takeAnswer(message)
          else owner.take(peer, message)
        } catch (error) {
          if (!(error instanceof StorageError)) throw error
          this.#drop(error.message, backoffMsRefused)
        }
      },
      onClose: reason => {
        if (this.#peer === peer) this.#drop(reason, this.#backoffMs())
      },
    })
    const peer = new Peer(connection, owner.clock)
    peer.role = 'mdm'
    peer.name = this.id
    this.#peer = peer
    peer
      .ask('hello', owner.helloFor(this.id), helloTimeoutMs)
      .then(answer => this.#peer === peer && this.#welcomed(peer, answer as PeerWelcome))
      .catch(error => this.#peer === peer && this.#refused(error))
  }

  #welcomed(peer: Peer, welcome: PeerWelcome): void {
    this.welcome = welcome
    this.release = welcome.mdm.release
    if (welcome.mdm.id !== null && welcome.mdm.id !== this.id) {
      this.#drop('another MDM is at this address', backoffMsRefused)
      return
    }
    this.#failures = 0
    this.failure = this.isUnattached ? 'an MDM without any data is at this address' : null
    this.upAtMs = this.owner.clock.nowMs()
    if (this.isUp) peer.mdmId = this.id
    this.owner.changed(this)
    this.#askStatus(peer)
  }

  #refused(error: unknown): void {
    const refused = error instanceof StorageError && (error.code === 'WRONG_SYSTEM' || error.code === 'PROTOCOL')
    const reason = error instanceof Error ? error.message : String(error)
    if (refused && reason !== this.failure) this.owner.log.warn('mdm.refusedByPeer', { mdm: this.id, reason })
    this.#drop(reason, refused ? backoffMsRefused : this.#backoffMs())
  }

  #askStatus(peer: Peer): void {
    peer.ask('peerStatus', {}, statusTimeoutMs).then(
      answer => {
        if (this.#peer !== peer) return
        this.status = answer as PeerAnswers['peerStatus']
        this.owner.told(this, this.status)
        this.#timer = this.owner.clock.setTimer(statusEveryMs, () => {
          if (this.#peer === peer) this.#askStatus(peer)
        })
      },
      error => this.#peer === peer && this.#drop(String(error), this.#backoffMs()),
    )
  }

  #backoffMs(): number {
    return Math.min(backoffMsMax, backoffMsMin * 2 ** Math.min(this.#failures, 6))
  }

  #drop(reason: string, againMs: number): void {
    if (this.#isClosed) return
    this.#failures++
    this.failure = reason
    this.#end()
    this.#timer?.cancel()
    this.#timer = this.owner.clock.setTimer(againMs, () => this.#connect())
  }

  #end(): void {
    const wasUp = this.isUp
    const peer = this.#peer
    this.#peer = null
    this.welcome = null
    this.status = null
    peer?.ended()
    peer?.connection.close()
    if (wasUp) this.owner.changed(this)
  }
}

/** Links to all others that this MDM has to reach. */
export class MdmLinks {
  readonly #links = new Map<MdmId, MdmLink>()

  constructor(readonly owner: LinkOwner) {}

  /** Opens and closes links as needed. */
  want(mdms: Iterable<Pick<Mdm, 'id' | 'endpoint'>>): void {
    const wanted = new Map([...mdms].map(({ id, endpoint }) => [id, endpoint]))
    for (const [id, link] of this.#links)
      if (!wanted.has(id)) {
        this.#links.delete(id)
        link.close()
      }
    for (const [id, endpoint] of wanted) {
      const link = this.#links.get(id)
      if (link) link.moveTo(endpoint)
      else this.#links.set(id, new MdmLink(this.owner, id, endpoint))
    }
  }

  get(id: string): MdmLink | null {
    return this.#links.get(id as MdmId) ?? null
  }
  [Symbol.iterator](): IterableIterator<MdmLink> {
    return this.#links.values()
  }

  close(): void {
    this.want([])
  }
}
