import { StorageError } from '../base/errors.js'
import type { MdmConfig } from '../config/mdm.js'
import type { MapDelta } from '../model/index.js'
import type { Ports, Timer } from '../ports/index.js'
import type { Cluster } from './cluster.js'
import type { Mdm } from './context.js'
import { Fences } from './fences.js'
import { MapPushes } from './map-pushes.js'
import { Members } from './members.js'
import type { Node } from './node.js'
import type { Peer } from './peer.js'
import { Proposer } from './proposer.js'
import { Rebuilds } from './rebuilds.js'
import { Recovery } from './recovery.js'
import { Registry } from './registry.js'
import { Returns } from './returns.js'
import { Watch } from './watch.js'

/** A registered SDS reports every second; one that is silent this long is gone, whatever TCP believes. */
const silenceMsMax = 15_000
const silenceCheckMs = 5_000

/**
 * What an MDM does while it is master. It begins knowing the state and nothing else, as a single MDM that has just been
 * started: daemons connect and register, and whatever one master has begun and not committed, the next one decides anew.
 */
export class Master {
  readonly mdm: Mdm
  #silenceTimer: Timer | null = null

  constructor(
    config: MdmConfig,
    ports: Ports,
    readonly cluster: Cluster,
    node: Node,
    readonly drop: Mdm['drop'],
  ) {
    const { state, map, deltas } = node.replica!
    const registry = new Registry(map)
    const pushes = new MapPushes(map, ports.clock, deltas)
    const fences = new Fences(map, registry, ports.clock)
    const proposer = new Proposer(node, state, ports.log)
    const watch = new Watch(state, registry, proposer, ports.clock, ports.log)
    const returns = new Returns(state, registry, proposer, ports.clock, ports.log, id => watch.isConvicted(id))
    const { links } = cluster
    const own = { proposer, registry, pushes, fences, returns, watch, preparing: new Set<string>(), drop }
    const mdm = { config, ports, cluster, node, links, state, map, ...own } as Mdm
    mdm.rebuilds = new Rebuilds(mdm)
    mdm.members = new Members(mdm)
    mdm.recovery = new Recovery(mdm)
    watch.onConvicted = () => returns.settleNow()
    this.mdm = mdm
  }

  start(): void {
    const { returns, watch, rebuilds, members } = this.mdm
    returns.noteWaiting()
    watch.start()
    rebuilds.start()
    members.start()
    this.#watchSilence()
  }

  applied(delta: MapDelta): void {
    const { pushes, returns, fences, rebuilds, members } = this.mdm
    pushes.applied(delta)
    returns.noteWaiting()
    fences.check()
    if (delta.changes.some(({ kind }) => kind === 'slices')) rebuilds.lookSoon()
    if (delta.changes.some(change => 'table' in change && change.table === 'mdms')) members.lookSoon()
  }

  /** The connection of a daemon or tool is over. */
  ended(peer: Peer): void {
    const { registry, pushes, fences, watch } = this.mdm
    if (peer.sdsId && registry.sds(peer.sdsId) === peer) watch.closed(peer.sdsId)
    peer.ended()
    registry.remove(peer)
    pushes.remove(peer)
    fences.check()
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

  /** Begins nothing more. Resolves when the command under way is through. */
  close(reason = new StorageError('NOT_MASTER')): Promise<void> {
    const { proposer, returns, watch, rebuilds, members } = this.mdm
    this.#silenceTimer?.cancel()
    watch.close()
    rebuilds.close()
    members.close()
    returns.close()
    return proposer.close(reason)
  }
}
