import type {
  DeviceId,
  FaultSetId,
  MappingId,
  MdmId,
  PoolId,
  ProtectionDomainId,
  SdcId,
  SdsId,
  SystemId,
  VolumeId,
} from '../base/ids.js'

/** The nouns as plain data. Objects are never changed in place: a change puts a new object under the same id. */

export interface System {
  id: SystemId
  name: string
  /**
   * Names the line of configurations since one was put in the place of a newer one (an import, an MDM that had gone back
   * in time). A process that has lived under another line ends, and starts with nothing in memory. Absent: the first one.
   */
  era?: string
  /** Set while nothing is served and nothing changes: until every SDS has said what it knows, or people go on without. */
  recovery?: Recovery
  /** Objects get no number below this. */
  numbersFrom?: number
}

/** Why the system stands still. */
export interface Recovery {
  /** `imported`: it may be older than what the SDSs know. `behind`: an SDS knew more. */
  why: 'imported' | 'behind'
  /** Numbers from here up to `numbersFrom` may have been given to objects that this configuration does not know. */
  unknownFrom: number
}

/** Fixed at installation. A tie breaker votes and stores no configuration. */
export type MdmKind = 'manager' | 'tieBreaker'

/** Members of the MDM cluster: one manager; two and a tie breaker; three and two. */
export type ClusterMode = 1 | 3 | 5

/** A metadata manager that is attached to the system. */
export interface Mdm {
  id: MdmId
  name: string
  kind: MdmKind
  /** Where it listens, for daemons and tools and for the other MDMs. */
  endpoint: Endpoint
  /**
   * attaching: it has not taken on its id yet. standby: attached, without a vote. joining: is to become a member. member:
   * votes. leaving: votes, and is to stand by again. Who votes follows from the membership entries of the log; who is to,
   * from the administrator's commands.
   */
  membership: 'attaching' | 'standby' | 'joining' | 'member' | 'leaving'
}

export interface ProtectionDomain {
  id: ProtectionDomainId
  name: string
}

export interface FaultSet {
  id: FaultSetId
  name: string
  protectionDomainId: ProtectionDomainId
}

/** Limits derived from a volume's size, for mappings that set none of their own (`null`). */
export interface LimitPolicy {
  /** IOPS of every mapping, whatever the size. */
  iops: number
  /** KB/s for each GB of the volume's size: 256 makes 104 GB -> 26 MB/s. */
  bandwidthKbPerSecPerGb: number
}

export interface StoragePool {
  id: PoolId
  name: string
  protectionDomainId: ProtectionDomainId
  zeroPadding: boolean
  /** Share of the raw capacity held back for rebuilds; null follows the largest fault unit. */
  sparePercent: number | null
  /** A power of two, fixed at creation. */
  sliceCount: number
  limitPolicy: LimitPolicy | null
  /** How fast joining copies are filled; absent: the defaults of core/rebuild. */
  rebuildPolicy?: IoPolicy
  rebalancePolicy?: IoPolicy
  /** How long a copy may be away before its slices are copied elsewhere; absent: 60 s. */
  gracePeriodMs?: number
  /** What the rebuild and the rebalance that are going on had to copy in all, for progress; absent: nothing goes on. */
  fillBytesTotal?: { rebuild: number; rebalance: number }
  /** Epochs of its slices go on above this, whatever its table says: devices may know them. */
  epochsFrom?: number
}

/** ScaleIO's policies for rebuild and rebalance I/O, all per device. */
export type IoPolicy =
  | { kind: 'unlimited' }
  | { kind: 'limitNumOfConcurrentIos'; concurrentIos: number }
  | { kind: 'favorAppIos'; concurrentIos: number; bandwidthKbPerSec: number }
  | {
      kind: 'dynamicBwThrottling'
      concurrentIos: number
      bandwidthKbPerSec: number
      appIopsThreshold: number
      appBandwidthKbPerSecThreshold: number
      quietPeriodMs: number
      /**
       * Of what applications move on a device, so much may be copied beside them while they use it all the time, if that is
       * less than the bandwidth; the more the device rests, the nearer to the bandwidth. Absent: the bandwidth.
       */
      appPercent?: number
    }

export interface Endpoint {
  host: string
  port: number
}

export interface Sds {
  id: SdsId
  name: string
  protectionDomainId: ProtectionDomainId
  /** null: the SDS is a fault unit of its own. */
  faultSetId: FaultSetId | null
  /** Where its data endpoint listens. Every device may name another one later. */
  endpoint: Endpoint
  /** The daemon's own identity, from its state directory; binds the name to one installation. */
  guid: string
  /** Raised by a committed entry for each new process (design section 5, rule 7). 0: never registered. */
  incarnation: number
  /** Names the process of `incarnation`, so that a reconnect is told from a restart. */
  processId: string
  /** Instant maintenance: its copies have left, frozen, and nobody copies them elsewhere meanwhile. */
  maintenance?: boolean
  /** It is being removed: its devices are drained, and it goes with the last of them. */
  removing?: boolean
}

export interface Device {
  id: DeviceId
  name: string
  sdsId: SdsId
  poolId: PoolId
  /** Where it was last found; for people only, identity is on the device. */
  path: string
  originalPath: string
  /** Capacity for chunks, a multiple of 1 MiB. 0 while pending. */
  capacityBytes: number
  /** pending: added here, not yet initialised by its SDS. ready: may hold copies. failed: taken out. removing: drained. */
  state: 'pending' | 'ready' | 'failed' | 'removing'
  /**
   * Slices in which this device's in-sync copy came back without a clean stop while the other copy was away: its role
   * is void, and nobody serves them, until a newer record decides (rule 6). `sameBoot`: its host has not restarted
   * since it last served. The registration that brings it also carries, in one log entry, the SDS's new incarnation and
   * the records of the slices that could be decided.
   */
  waiting?: { slices: number[]; sameBoot: boolean }
  /** The incarnation of its SDS under which its return was decided (or under which it was initialised). */
  incarnation?: number
}

export interface Volume {
  id: VolumeId
  name: string
  poolId: PoolId
  sizeBytes: number
  type: 'thin' | 'thick'
  /** Chunk i is in slice `(sliceOffset + i) mod sliceCount`. */
  sliceOffset: number
}

export interface Sdc {
  id: SdcId
  name: string
  guid: string
  /** Raised by a committed entry for each new process (rule 7). */
  incarnation: number
  processId: string
}

export interface Mapping {
  id: MappingId
  volumeId: VolumeId
  sdcId: SdcId
  accessMode: 'ReadWrite' | 'ReadOnly'
  /** 0: unlimited; null: as the pool's limit policy says (unlimited where it has none). */
  iopsLimit: number | null
  bandwidthLimitKbPerSec: number | null
}

/**
 * Where a slice's copies are. Invariants:
 *  1. primary and secondary are in sync, and stand in different fault units (so does joining, unless it replaces a
 *     copy of that unit);
 *  2. `epoch` only grows; every change of any field raises it;
 *  3. `lossEpoch` is the epoch at which the slice last went on from a copy that may have lost unsynced writes, 0 if
 *     never: a FLUSH for writes noted under an older epoch fails once.
 * `checkSlices` in core/placement holds the first where a record enters the log.
 */
export interface SliceRecord {
  slice: number
  epoch: number
  primary: DeviceId
  secondary: DeviceId | null
  joining: DeviceId | null
  lossEpoch: number
  /**
   * The copy that left last, while the primary has been the only copy in sync ever since (rule 5): its device keeps what
   * it has, and if it joins again the regions marked by either side suffice. Absent: whoever joins gets everything.
   */
  left?: DeviceId | null
}
