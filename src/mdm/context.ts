import type { MdmConfig } from '../config/mdm.js'
import type { MdmState } from '../core/mdm/index.js'
import type { ClusterMap } from '../model/index.js'
import type { Ports } from '../ports/index.js'
import type { Cluster } from './cluster.js'
import type { Fences } from './fences.js'
import type { MapPushes } from './map-pushes.js'
import type { MdmLinks } from './mdm-link.js'
import type { Members } from './members.js'
import type { Node } from './node.js'
import type { Peer } from './peer.js'
import type { Proposer } from './proposer.js'
import type { Rebuilds } from './rebuilds.js'
import type { Recovery } from './recovery.js'
import type { Registry } from './registry.js'
import type { Returns } from './returns.js'
import type { Watch } from './watch.js'

/** What the handlers of requests stand on. */
export interface Mdm {
  config: MdmConfig
  ports: Ports
  cluster: Cluster
  node: Node
  links: MdmLinks
  members: Members
  state: MdmState
  map: ClusterMap
  proposer: Proposer
  registry: Registry
  pushes: MapPushes
  fences: Fences
  returns: Returns
  watch: Watch
  rebuilds: Rebuilds
  recovery: Recovery
  /** Devices that are being initialised now, so that nobody starts a second time. */
  preparing: Set<string>
  /** Ends a connection from our side. */
  drop(peer: Peer, reason: string): void
}
