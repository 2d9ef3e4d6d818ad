import { StorageError } from '../base/errors.js'
import { idOfNumber, type MdmId, type SystemId } from '../base/ids.js'
import { checkMdmConfig, type MdmConfig } from '../config/mdm.js'
import type { ClusterMap, MapDelta } from '../model/index.js'
import type { Connection, ConnectionHandlers, Daemon, Listener, MetricSample, Ports } from '../ports/index.js'
import { check } from '../wire/check.js'
import { type ControlMessage, controlVersion, mdmRequests } from '../wire/control.js'
import { Cluster } from './cluster.js'
import { clusterReport } from './cluster-report.js'
import type { Mdm } from './context.js'
import { dispatch, welcome } from './dispatch.js'
import { Master } from './master.js'
import { mdmMetrics } from './metrics.js'
import type { Node } from './node.js'
import { Peer } from './peer.js'

/** Whoever has not been welcomed by then is sent away. */
const helloTimeoutMs = 10_000
/** Connections; daemons of the largest system and some tools. */
const peersMax = 4096

/**
 * Starts an MDM. In an empty directory it creates a system, or waits for one to attach it, as its configuration says;
 * otherwise it takes its part in the cluster that the directory names. One that is alone in its cluster is master when
 * this resolves.
 */
export async function startMdm(config: MdmConfig, ports: Ports): Promise<MdmDaemon> {
  checkMdmConfig(config)
  const daemon = new MdmDaemon(config, ports)
  try {
    await daemon.start()
  } catch (error) {
    await daemon.stop()
    throw error
  }
  return daemon
}

export class MdmDaemon implements Daemon {
  #cluster: Cluster | null = null
  #master: Master | null = null
  #listener: Listener | null = null
  #stopped: Promise<void> | null = null
  readonly #peers = new Set<Peer>()
  #fail: (error: Error) => void = () => {}
  readonly failed = new Promise<Error>(resolve => {
    this.#fail = resolve
  })
  #serving: () => void = () => {}
  readonly #isServing = new Promise<void>(resolve => {
    this.#serving = resolve
  })

  constructor(
    readonly config: MdmConfig,
    readonly ports: Ports,
  ) {}

  /** The master's parts; null while this MDM is not master. */
  get mdm(): Mdm | null {
    return this.#master?.mdm ?? null
  }
  /** As far as this MDM has applied the log; null: it keeps no configuration. */
  get map(): ClusterMap | null {
    return this.#cluster?.map ?? null
  }
  get node(): Node | null {
    return this.#cluster?.node ?? null
  }
  get endpointText(): string {
    const at = this.#listener?.endpoint
    return at ? `${at.host}:${at.port}` : ''
  }

  async start(): Promise<void> {
    const { config, ports } = this
    const cluster = await Cluster.open(config, ports, {
      becameMaster: node => this.#becameMaster(node),
      lostMaster: () => this.#lostMaster(),
      applied: delta => this.#applied(delta),
      broken: error => this.#fail(error),
    })
    this.#cluster = cluster
    this.#listener = await ports.link.listenControl(config.listen, connection => this.#accept(connection))
    cluster.endpoint = this.#listener.endpoint
    if (cluster.identity === null && config.kind === 'manager' && config.createSystem) await this.#create(cluster)
    else cluster.start()
    if (cluster.node?.driver.isAlone) await this.#isServing
    ports.log.info('mdm.started', {
      name: config.name,
      kind: config.kind,
      systemId: cluster.identity?.systemId ?? null,
      mapVersion: this.map?.version ?? null,
      digest: cluster.node?.replica?.digest ?? null,
      endpoint: this.endpointText,
    })
  }

  async #create(cluster: Cluster): Promise<void> {
    const systemId = this.ports.random.hex(8) as SystemId
    const id: MdmId = idOfNumber<'mdm'>(systemId, 1)
    await cluster.create({ systemId, id, kind: 'manager' })
  }

  metrics(): MetricSample[] {
    return mdmMetrics(this.#cluster!, this.mdm, this.#peers.size)
  }

  // ---- being master

  #becameMaster(node: Node): void {
    this.ports.log.info('mdm.master', { term: node.role.term, mapVersion: node.index })
    const cluster = this.#cluster!
    const master = new Master(this.config, this.ports, cluster, node, (peer, reason) => this.#drop(peer, reason))
    this.#master = master
    const { members } = master.mdm
    cluster.onMoved = (id, endpoint) => members.moved(id, endpoint)
    members.onServing = this.#serving
    master.start()
  }

  #lostMaster(): void {
    const master = this.#master!
    this.#master = null
    this.#cluster!.onMoved = () => {}
    this.ports.log.info('mdm.noLongerMaster', {})
    void master.close(this.#cluster!.notMaster())
    // They find the new master themselves.
    for (const peer of [...this.#peers])
      if (peer.role !== 'mdm') this.#drop(peer, 'this MDM is no longer master', master)
  }

  #applied(delta: MapDelta): void {
    this.#master?.applied(delta)
  }

  // ---- connections

  #accept(connection: Connection<ControlMessage>): ConnectionHandlers<ControlMessage> {
    const { ports } = this
    const peer = new Peer(connection, ports.clock)
    this.#peers.add(peer)
    peer.helloTimer = ports.clock.setTimer(helloTimeoutMs, () => {
      if (peer.role === null && !peer.closed) this.#drop(peer, 'it said no hello')
    })
    if (this.#peers.size > peersMax) ports.clock.endOfTurn(() => this.#drop(peer, 'too many connections'))
    return {
      onMessage: message => {
        if (peer.closed) return
        peer.heardAtMs = ports.clock.nowMs()
        try {
          this.#take(peer, message)
        } catch (error) {
          // One peer's mistake ends its own connection; ours ends the daemon.
          if (!(error instanceof StorageError)) throw error
          this.#drop(peer, error.message)
        }
      },
      onClose: reason => {
        if (!peer.closed) this.#ended(peer, reason)
      },
    }
  }

  #take(peer: Peer, message: ControlMessage): void {
    const isRequest = message.kind === 'request'
    if (isRequest && message.name === 'hello') this.#takeHello(peer, message.id, message.params)
    else if (!peer.hasSaidHello)
      throw new StorageError('PROTOCOL', { field: 'name', detail: 'a connection begins with hello' })
    else if (isRequest && message.name === 'queryCluster') peer.answer(message.id, clusterReport(this.#cluster!))
    else if (peer.role === 'mdm') this.#takeFromMdm(peer, message)
    else if (this.mdm !== null && peer.role !== null) this.#serve(this.mdm, peer, message)
    else if (isRequest) peer.refuse(message.id, this.#cluster!.notMaster())
  }

  #takeFromMdm(peer: Peer, message: ControlMessage): void {
    if (message.kind === 'answer') peer.takeAnswer(message)
    else this.#cluster!.take(peer, message)
  }

  #serve(mdm: Mdm, peer: Peer, message: ControlMessage): void {
    if (peer.sdsId && peer.registered) mdm.watch.heard(peer.sdsId)
    dispatch(mdm, peer, message)
  }

  #takeHello(peer: Peer, id: number, params: unknown): void {
    const cluster = this.#cluster!
    const refuse = (error: unknown) => {
      if (!(error instanceof StorageError)) throw error
      if (peer.closed) return
      // Who is not at the master may still ask who is.
      const isElsewhere = error.code === 'NOT_MASTER'
      peer.refuse(id, isElsewhere ? cluster.notMaster() : error)
      if (!isElsewhere) this.#drop(peer, error.message)
    }
    try {
      const hello = checkHello(peer, params)
      peer.hasSaidHello = true
      peer.name = hello.name
      if (hello.role === 'mdm') {
        peer.answer(id, cluster.welcome(peer, hello))
        peer.helloTimer?.cancel()
        peer.role = 'mdm'
      } else {
        const { mdm } = this
        if (!mdm?.members.isServing) throw cluster.notMaster()
        mdm.registry.peers.add(peer)
        welcome(mdm, peer, hello).then(answer => peer.answer(id, answer), refuse)
      }
    } catch (error) {
      refuse(error)
    }
  }

  /** Ends a connection from our side. */
  #drop(peer: Peer, reason: string, master = this.#master): void {
    if (peer.closed) return
    this.#ended(peer, reason, master)
    peer.connection.close()
  }

  #ended(peer: Peer, reason: string, master = this.#master): void {
    const level = peer.registered || peer.role === null ? 'info' : 'debug'
    this.ports.log[level]('peer.gone', { role: peer.role, name: peer.name, reason })
    master?.ended(peer)
    peer.ended()
    this.#peers.delete(peer)
    this.#cluster?.ended(peer)
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const { ports } = this
    await this.#listener?.close()
    const stopping = new StorageError('UNREACHABLE', { detail: 'the MDM is stopping' })
    await this.#master?.close(stopping)
    const mapVersion = this.map?.version ?? null
    for (const peer of [...this.#peers]) this.#drop(peer, 'the MDM is stopping')
    await this.#cluster?.close()
    ports.log.info('mdm.stopped', { mapVersion })
  }
}

function checkHello(peer: Peer, params: unknown) {
  const version = (params as { version?: unknown } | null)?.version
  if (version !== controlVersion)
    throw new StorageError('PROTOCOL', {
      field: 'version',
      detail: 'the other side speaks another version of the protocol',
      have: String(version).slice(0, 20),
      want: controlVersion,
      remedy: 'bring both to one release',
    })
  const hello = check(mdmRequests.hello, params, 'hello')
  if (peer.role !== null) throw new StorageError('PROTOCOL', { field: 'name', detail: 'hello is said once' })
  return hello
}
