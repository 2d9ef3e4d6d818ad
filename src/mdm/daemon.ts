import { StorageError } from '../base/errors.js'
import type { SystemId } from '../base/ids.js'
import type { MdmConfig } from '../config/mdm.js'
import { digest } from '../core/mdm/index.js'
import { systemIdOf } from '../model/index.js'
import type { Connection, ConnectionHandlers, Daemon, Listener, MetricSample, Ports, Timer } from '../ports/index.js'
import type { ControlMessage } from '../wire/control.js'
import type { Mdm } from './context.js'
import { dispatch } from './dispatch.js'
import { Fences } from './fences.js'
import { LogStore } from './log-store.js'
import { MapPushes } from './map-pushes.js'
import { mdmMetrics } from './metrics.js'
import { Peer } from './peer.js'
import { Proposer } from './proposer.js'
import { Rebuilds } from './rebuilds.js'
import { Recovery } from './recovery.js'
import { Registry } from './registry.js'
import { Returns } from './returns.js'
import { Watch } from './watch.js'

/** Whoever has not said hello by then is sent away. */
const helloTimeoutMs = 10_000
/** A registered SDS reports every second; one that is silent this long is gone, whatever TCP believes. */
const silenceMsMax = 15_000
const silenceCheckMs = 5_000
/** Connections; daemons of the largest system and some tools. */
const peersMax = 4096

/** Starts an MDM: recovers its state, creates the system in an empty directory, and listens. */
export async function startMdm(config: MdmConfig, ports: Ports): Promise<Daemon> {
  const { store, state, deltas } = await LogStore.open(ports.metaStores, config.directory)
  const { map } = state
  const registry = new Registry(map)
  const pushes = new MapPushes(map, ports.clock, deltas)
  const fences = new Fences(map, registry, ports.clock)
  const proposer = new Proposer(state, store, ports.log, delta => {
    pushes.applied(delta)
    returns.noteWaiting()
    fences.check()
    if (delta.changes.some(({ kind }) => kind === 'slices')) rebuilds.lookSoon()
  })
  const watch = new Watch(state, registry, proposer, ports.clock, ports.log)
  const returns = new Returns(state, registry, proposer, ports.clock, ports.log, id => watch.isConvicted(id))
  watch.onConvicted = () => returns.settleNow()
  const preparing = new Set<string>()
  const drop: Mdm['drop'] = () => {}
  const parts = { config, ports, state, map, proposer, registry, pushes, fences, returns, watch, preparing, drop }
  const recovery = new Recovery(parts, (peer, reason) => daemon.drop(peer, reason))
  const mdm = { ...parts, recovery } as typeof parts & { recovery: Recovery; rebuilds: Rebuilds }
  const rebuilds = new Rebuilds(mdm)
  mdm.rebuilds = rebuilds
  const daemon = new MdmDaemon(mdm, store)
  mdm.drop = (peer, reason) => daemon.drop(peer, reason)
  try {
    await createSystem(mdm)
    returns.noteWaiting()
    await daemon.listen()
    watch.start()
    rebuilds.start()
  } catch (error) {
    await daemon.stop()
    throw error
  }
  ports.log.info('mdm.started', {
    name: config.name,
    systemId: systemIdOf(map),
    mapVersion: map.version,
    digest: digest(state).slice(0, 16),
    endpoint: daemon.endpointText,
  })
  return daemon
}

async function createSystem({ map, proposer, ports, config }: Mdm): Promise<void> {
  if (systemIdOf(map) !== null) return
  const systemId = ports.random.hex(8) as SystemId
  await proposer.propose('createSystem', () => ({ systemId, name: config.systemName ?? config.name }))
  ports.log.info('system.created', { systemId, name: config.systemName ?? config.name })
}

class MdmDaemon implements Daemon {
  #listener: Listener | null = null
  #stopped: Promise<void> | null = null
  #silenceTimer: Timer | null = null

  constructor(
    readonly mdm: Mdm,
    readonly store: LogStore,
  ) {}

  get endpointText(): string {
    const at = this.#listener?.endpoint
    return at ? `${at.host}:${at.port}` : ''
  }

  async listen(): Promise<void> {
    const { ports, config } = this.mdm
    this.#listener = await ports.link.listenControl(config.listen, connection => this.#accept(connection))
    this.#watchSilence()
  }

  /** What a copy may do depends on whether the other one is up: a dead host's connection must not count as alive. */
  #watchSilence(): void {
    const { registry, ports } = this.mdm
    this.#silenceTimer = ports.clock.setTimer(silenceCheckMs, () => {
      const nowMs = ports.clock.nowMs()
      for (const peer of [...registry.peers])
        if (peer.role === 'sds' && peer.registered && nowMs - peer.heardAtMs > silenceMsMax)
          this.drop(peer, 'it has been silent for too long')
      this.#watchSilence()
    })
  }

  metrics(): MetricSample[] {
    return mdmMetrics(this.mdm)
  }

  #accept(connection: Connection<ControlMessage>): ConnectionHandlers<ControlMessage> {
    const { registry, ports } = this.mdm
    const peer = new Peer(connection, ports.clock)
    registry.peers.add(peer)
    peer.helloTimer = ports.clock.setTimer(helloTimeoutMs, () => {
      if (peer.role === null && !peer.closed) this.drop(peer, 'it said no hello')
    })
    if (registry.peers.size > peersMax) ports.clock.endOfTurn(() => this.drop(peer, 'too many connections'))
    return {
      onMessage: message => {
        if (peer.closed) return
        peer.heardAtMs = ports.clock.nowMs()
        if (peer.sdsId && peer.registered) this.mdm.watch.heard(peer.sdsId)
        try {
          dispatch(this.mdm, peer, message)
        } catch (error) {
          // One peer's mistake ends its own connection; ours ends the daemon.
          if (!(error instanceof StorageError)) throw error
          this.drop(peer, error.message)
        }
      },
      onClose: reason => {
        if (!peer.closed) this.#ended(peer, reason)
      },
    }
  }

  /** Ends a connection from our side. */
  drop(peer: Peer, reason: string): void {
    if (peer.closed) return
    this.#ended(peer, reason)
    peer.connection.close()
  }

  #ended(peer: Peer, reason: string): void {
    const { registry, pushes, fences, ports } = this.mdm
    if (peer.sdsId && registry.sds(peer.sdsId) === peer) this.mdm.watch.closed(peer.sdsId)
    const level = peer.registered || peer.role === null ? 'info' : 'debug'
    ports.log[level]('peer.gone', { role: peer.role, name: peer.name, reason })
    peer.ended()
    registry.remove(peer)
    pushes.remove(peer)
    fences.check()
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    const { registry, proposer, returns, watch, rebuilds, ports } = this.mdm
    this.#silenceTimer?.cancel()
    watch.close()
    rebuilds.close()
    await this.#listener?.close()
    await proposer.close()
    returns.close()
    for (const peer of [...registry.peers]) this.drop(peer, 'the MDM is stopping')
    await this.store.close()
    ports.log.info('mdm.stopped', { mapVersion: this.mdm.map.version })
  }
}
