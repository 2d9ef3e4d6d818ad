import type { DeviceId } from '../base/ids.js'
import { MapRing, SdsView } from '../core/sds/index.js'
import { type ClusterMap, emptyMap, type MapDelta } from '../model/index.js'
import type { Clock, Link, Log, ReadPasses, Tally, WritePasses } from '../ports/index.js'
import { SdsCounters } from './counters.js'
import type { Drains } from './drains.js'
import type { Leases } from './leases.js'
import type { OwnDevice } from './own-device.js'
import type { Peers } from './replicas.js'

/** What the parts of one SDS share. */
export class SdsContext {
  readonly view = new SdsView()
  readonly ring = new MapRing()
  readonly devices = new Map<DeviceId, OwnDevice>()
  readonly counters = new SdsCounters()
  systemId: string | null = null
  sdsId: string | null = null
  /** Number of `sdsId`. */
  number = 0
  incarnation = 0
  /** Counts the sessions that this process has opened with other SDSs: the newer one has the higher number (rule 7). */
  sessionsOpened = 0
  /** The MDM has confirmed this process, and the map that says so is here. Until then nothing is served. */
  isServing = false
  isStopping = false
  /** What was carried out under passes: writes of clients, and of primaries to copies here. */
  readonly lanes: { writes: Tally; copies: Tally }
  peers!: Peers
  leases!: Leases
  drains!: Drains
  /** The map's tables, for what is rare. */
  tables: () => ClusterMap['tables'] = () => emptyMap().tables
  /** Takes map changes that another SDS handed over. */
  takeChanges: (deltas: MapDelta[]) => void = () => {}
  /** Tells the MDM at once that a device has failed. */
  reportDevices: () => void = () => {}

  constructor(
    readonly clock: Clock,
    readonly link: Link,
    readonly log: Log,
    readonly passes: ReadPasses,
    readonly writePasses: WritePasses,
  ) {
    this.lanes = { writes: writePasses.newTally(), copies: writePasses.newTally() }
  }

  callBackLanes(): void {
    for (const device of this.devices.values()) device.callBackLanes()
  }
}
