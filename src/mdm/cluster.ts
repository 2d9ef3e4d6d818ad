import type { z } from 'zod'
import { StorageError } from '../base/errors.js'
import type { MdmId } from '../base/ids.js'
import { release } from '../base/release.js'
import type { MdmConfig } from '../config/mdm.js'
import type { Member, RaftMessage, RoleChange } from '../core/raft/index.js'
import type { ClusterMap, Endpoint, MapDelta, Mdm } from '../model/index.js'
import type { Clock, Link, Log, Ports } from '../ports/index.js'
import {
  type ControlMessage,
  controlVersion,
  type MdmRequests,
  type PeerAnswers,
  type PeerRequestName,
  type PeerRequests,
  type PeerWelcome,
  peerNotices,
  peerRequests,
} from '../wire/control.js'
import { check } from './check.js'
import { type LinkOwner, type MdmLink, MdmLinks } from './mdm-link.js'
import { Node, type NodeOwner } from './node.js'
import type { Peer } from './peer.js'
import { RaftStore } from './raft-store.js'
import { SnapshotReceiver, sendSnapshot } from './snapshot-pieces.js'

/** What the daemon does when something becomes of its part in the cluster. */
export interface ClusterOwner {
  becameMaster(node: Node): void
  lostMaster(): void
  applied(delta: MapDelta): void
  broken(error: StorageError): void
}

/** Messages to a member that does not take in what it has are lost: the consensus sends them again. */
const queuedBytesMax = 32 * 1024 * 1024
/** Whoever has opened a connection asks something twice a second. */
const silenceMsMax = 2_500

/** This MDM among the others: who it is, its part in the consensus, and its connections with them. */
export class Cluster implements LinkOwner, NodeOwner {
  node: Node | null = null
  readonly links: MdmLinks
  /** Connections that other MDMs have opened, newest last. */
  readonly #incoming = new Map<MdmId, { peer: Peer; sinceMs: number; endpoint: Endpoint; name: string }>()
  #receiver: SnapshotReceiver | null = null
  /** Where this MDM listens. */
  endpoint: Endpoint
  #changing: Promise<unknown> = Promise.resolve()
  readonly clock: Clock
  readonly link: Link
  readonly log: Log

  private constructor(
    readonly config: MdmConfig,
    readonly ports: Ports,
    readonly store: RaftStore,
    readonly owner: ClusterOwner,
  ) {
    this.clock = ports.clock
    this.link = ports.link
    this.log = ports.log
    this.endpoint = config.listen
    this.links = new MdmLinks(this)
  }

  /** Opens the directory; nothing runs yet. */
  static async open(config: MdmConfig, ports: Ports, owner: ClusterOwner): Promise<Cluster> {
    const store = await RaftStore.open(ports, config.directory)
    const kind = store.identity?.kind ?? config.kind
    if (kind === config.kind) return new Cluster(config, ports, store, owner)
    await store.close()
    throw new StorageError('CONFIGURATION', {
      detail: `kind = ${config.kind}: the directory is that of a ${kind}`,
      directory: config.directory,
      remedy: 'the kind of an MDM is fixed: give the other kind a directory of its own, and attach it as a new MDM',
    })
  }

  /** Takes its part in the cluster, if it has one. */
  start(): void {
    if (this.store.recovered === null) return
    this.#begin(this.store.recovered)
  }

  #begin(recovered: NonNullable<RaftStore['recovered']>): void {
    const { identity } = this.store
    this.node = new Node(identity!, recovered, this.store, this.config, this.ports, this)
    this.#receiver = new SnapshotReceiver(this.node.driver)
    this.#wantLinks()
    this.node.start()
  }

  /** Becomes the first MDM of a new system. */
  async create(identity: NonNullable<RaftStore['identity']>): Promise<void> {
    const self: Member = { id: identity.id, kind: identity.kind, isLearner: false }
    this.#begin(await this.store.begin(identity, [self]))
  }

  get identity() {
    return this.store.identity
  }
  /** null: unattached, or a tie breaker. */
  get map(): ClusterMap | null {
    return this.node?.replica?.map ?? null
  }
  get mdms(): Mdm[] {
    return [...(this.map?.tables.mdms.values() ?? [])]
  }

  async close(): Promise<void> {
    this.links.close()
    this.node?.close()
    await this.#changing
    await this.store.close()
  }

  // ---- who is master

  get masterId(): MdmId | null {
    return (this.node?.role.leader as MdmId | null | undefined) ?? null
  }

  endpointOf(id: MdmId): Endpoint | null {
    return this.map?.tables.mdms.get(id)?.endpoint ?? this.#incoming.get(id)?.endpoint ?? null
  }

  nameOf(id: string): string | null {
    return this.#incoming.get(id as MdmId)?.name ?? null
  }

  /** Why a request cannot be served here, and where it can. */
  notMaster(): StorageError {
    const { masterId, identity, node } = this
    if (identity === null || node === null)
      return new StorageError('NOT_MASTER', {
        detail: 'this MDM is not attached to any system',
        mdm: this.config.name,
        remedy: 'attach it with scli --add_standby_mdm, or name an MDM of the system',
      })
    const at = masterId === null || masterId === identity.id ? null : this.endpointOf(masterId)
    if (at !== null) return new StorageError('NOT_MASTER', { master: `${at.host}:${at.port}` })
    const missing = this.#missing()
    return new StorageError('NOT_MASTER', {
      detail: 'the MDM cluster has no master now',
      ...(missing.length > 0 ? { missing: missing.join(', ') } : {}),
      remedy: 'nothing can be changed before a majority of its members reach each other again; I/O goes on',
    })
  }

  #missing(): string[] {
    const voters = new Set(this.node!.driver.status.members.map(({ id }) => id))
    return this.mdms
      .filter(({ id }) => voters.has(id) && id !== this.identity?.id && !this.isReached(id))
      .map(({ name, endpoint }) => `${name} (${endpoint.host}:${endpoint.port})`)
  }

  /** Something has come from it lately, or it answers. */
  isReached(id: MdmId): boolean {
    const heardAtMs = this.#incoming.get(id)?.peer.heardAtMs ?? Number.NEGATIVE_INFINITY
    return (this.links.get(id)?.isUp ?? false) || this.clock.nowMs() - heardAtMs < silenceMsMax
  }

  // ---- what the consensus wants

  send(message: RaftMessage): void {
    const connection = this.#connectionTo(message.to as MdmId)
    if (connection !== null && connection.queuedBytes <= queuedBytesMax)
      connection.notice('raft', { messages: [message] })
  }

  /** Of the two that there may be, the one that came up last: an older one may be dead without anybody knowing. */
  #connectionTo(id: MdmId): { notice(name: string, params: unknown): void; queuedBytes: number } | null {
    const link = this.links.get(id)
    const incoming = this.#incoming.get(id)
    if (link?.isUp && (!incoming || link.upAtMs >= incoming.sinceMs)) return link
    if (!incoming) return null
    const { peer } = incoming
    return { notice: (name, params) => peer.notice(name, params), queuedBytes: peer.connection.queuedBytes }
  }

  sendSnapshot(to: string): void {
    const node = this.node!
    const link = this.links.get(to)
    const sent = link?.isUp ? sendSnapshot(link, node.snapshot()) : Promise.resolve(false)
    sent.then(
      isReceived => node.snapshotSent(to as MdmId, isReceived),
      error => {
        this.log.warn('mdm.snapshotNotSent', { to, error: String(error) })
        node.snapshotSent(to as MdmId, false)
      },
    )
  }

  applied(delta: MapDelta | null): void {
    const touchesMdms = delta?.changes.some(change => 'table' in change && change.table === 'mdms') ?? true
    if (touchesMdms) this.#wantLinks()
    if (delta !== null && this.node?.isMaster) this.owner.applied(delta)
  }

  becameMaster(): void {
    this.#wantLinks()
    this.owner.becameMaster(this.node!)
  }
  lostMaster(): void {
    this.owner.lostMaster()
    this.#wantLinks()
  }
  roleChanged({ role, term, leader }: RoleChange): void {
    this.log.info('mdm.role', { role, term, leader })
  }
  broken(error: StorageError): void {
    this.owner.broken(error)
  }

  /** The master reaches everybody; others the members, as they may have to ask for votes. */
  #wantLinks(): void {
    const all =
      this.node === null || this.identity === null ? [] : this.mdms.filter(({ id }) => id !== this.identity!.id)
    const isMaster = this.node?.isMaster ?? false
    this.links.want(
      all.filter(({ membership }) => isMaster || (membership !== 'standby' && membership !== 'attaching')),
    )
  }

  // ---- other MDMs

  /** `want` null: for one question only, not as a way to this member. */
  helloFor(want: MdmId | null): unknown {
    const { identity, config, endpoint } = this
    const id = want === null ? null : (identity?.id ?? null)
    return {
      version: controlVersion,
      role: 'mdm',
      systemId: identity?.systemId ?? null,
      name: config.name,
      mdm: { id, kind: config.kind, endpoint, release, want },
    }
  }

  /** Takes in another MDM. Throws WRONG_SYSTEM where the two do not belong together. */
  welcome(peer: Peer, hello: MdmRequests['hello']): PeerWelcome {
    const { identity, config } = this
    const who = hello.mdm
    if (who === undefined) throw new StorageError('PROTOCOL', { field: 'mdm', detail: 'an MDM says who it is' })
    if (identity !== null && hello.systemId !== null && hello.systemId !== identity.systemId)
      throw new StorageError('WRONG_SYSTEM', {
        detail: 'this MDM has the data of another system',
        mdm: config.name,
        have: identity.systemId,
        want: hello.systemId,
        remedy: 'remove it from that system, or clear its directory if that system is gone',
      })
    peer.mdmId = who.id as MdmId | null
    if (peer.mdmId !== null) {
      this.#incoming.set(peer.mdmId, { peer, sinceMs: this.clock.nowMs(), endpoint: who.endpoint, name: hello.name })
      if (this.node?.isMaster) this.onMoved(peer.mdmId, who.endpoint)
    }
    return {
      systemId: identity?.systemId ?? null,
      mdmName: config.name,
      mdm: { id: identity?.id ?? null, kind: config.kind, release },
    }
  }

  /** A member listens somewhere else than the map says. */
  onMoved: (id: MdmId, endpoint: Endpoint) => void = () => {}

  /** Its connection is over. */
  ended(peer: Peer): void {
    const id = peer.mdmId
    if (id === null || this.#incoming.get(id)?.peer !== peer) return
    this.#incoming.delete(id)
    if (!this.links.get(id)?.isUp) this.node?.driver.unreachable(id)
  }

  changed(link: MdmLink): void {
    this.log[link.isUp ? 'info' : 'warn'](link.isUp ? 'mdm.linkUp' : 'mdm.linkDown', {
      mdm: link.id,
      why: link.failure,
    })
    if (!link.isUp && !this.#incoming.has(link.id)) this.node?.driver.unreachable(link.id)
  }

  /** Compares what the log has led to there and here. */
  told(link: MdmLink, { index, digest, failure }: PeerAnswers['peerStatus']): void {
    const { node } = this
    if (!node?.isMaster || digest === null || failure !== null) return
    const own = node.replica!.digestAt(index)
    if (own === null || own === digest) return
    this.log.error('mdm.digestsDiffer', { mdm: link.id, index, digest, own })
    link.ask('diverged', { index, digest: own }, 5_000).catch(() => {})
  }

  take(peer: Peer, message: ControlMessage): void {
    if (message.kind === 'notice') this.#takeNotice(peer, message.name, message.params)
    else if (message.kind === 'request') void this.#serve(peer, message)
  }

  #takeNotice(peer: Peer, name: string, params: unknown): void {
    if (name !== 'raft' || this.node === null) return
    for (const message of check(peerNotices.raft, params, name).messages as RaftMessage[])
      if (message.to === this.identity?.id && message.from === peer.mdmId) this.node.driver.step(message)
  }

  async #serve(peer: Peer, { id, name, params }: Extract<ControlMessage, { kind: 'request' }>): Promise<void> {
    try {
      if (!Object.hasOwn(this.#handlers, name))
        throw new StorageError('BAD_REQUEST', { request: name.slice(0, 64), detail: 'MDMs do not ask this' })
      const known = name as PeerRequestName
      const handle = this.#handlers[known] as (params: never) => Promise<unknown>
      peer.answer(id, await handle(check(peerRequests[known] as z.ZodType, params, name) as never))
    } catch (error) {
      peer.refuse(id, error)
      if (!(error instanceof StorageError)) queueMicrotask(() => raise(error))
    }
  }

  readonly #handlers: { [N in PeerRequestName]: (params: PeerRequests[N]) => Promise<PeerAnswers[N]> } = {
    attach: params => this.#inTurn(() => this.#attach(params)),
    detach: params => this.#inTurn(() => this.#detach(params)),
    peerStatus: async () => ({
      term: this.node?.role.term ?? 0,
      index: this.node?.index ?? 0,
      digest: this.node?.replica?.digest ?? null,
      failure: this.node?.failure ?? null,
    }),
    diverged: async ({ index, digest }) => {
      const own = this.node?.replica?.digestAt(index) ?? null
      if (own !== null && own !== digest)
        this.node!.diverged(`the log up to ${index} has other effects here than at the master`)
      return {}
    },
    snapshotPiece: async piece => {
      if (this.#receiver === null) throw this.notMaster()
      return { wanted: this.#receiver.take(piece) }
    },
  }

  /** One after another. */
  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = this.#changing.then(act)
    this.#changing = turn.catch(() => {})
    return turn
  }

  async #attach({ systemId, id, kind }: PeerRequests['attach']): Promise<Record<string, never>> {
    const { identity, config } = this
    if (identity?.systemId === systemId && identity.id === id) return {}
    if (identity !== null)
      throw new StorageError('WRONG_SYSTEM', {
        detail: identity.systemId === systemId ? 'the MDM is attached already' : 'the MDM belongs to another system',
        mdm: config.name,
        have: identity.systemId,
        remedy: 'remove it there first, or clear its directory',
      })
    if (kind !== config.kind)
      throw new StorageError('BAD_ARGUMENT', {
        detail: `the MDM is a ${config.kind} by its configuration, not a ${kind}`,
        mdm: config.name,
        remedy: 'add it as what it is',
      })
    const recovered = await this.store.begin({ systemId, id, kind } as never, [])
    this.log.info('mdm.attached', { systemId, id })
    this.#begin(recovered)
    return {}
  }

  async #detach({ id }: PeerRequests['detach']): Promise<Record<string, never>> {
    if (this.identity?.id !== id) return {}
    this.node?.close()
    this.node = null
    this.#receiver = null
    this.#wantLinks()
    await this.store.clear()
    this.log.info('mdm.detached', { id })
    return {}
  }
}

function raise(error: unknown): never {
  throw error
}
