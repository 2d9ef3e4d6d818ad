/**
 * The control protocol, whole: what daemons and tools say to the MDM, and the MDM to them. One TCP connection carries
 * messages both ways, each a u32 length (big-endian) and that many bytes of msgpack. Either side may ask: a `request`
 * is answered by one `answer` with its id; a `notice` is not answered. docs/PROTOCOL.md tells the story.
 */
import * as v from 'valibot'
import type { ErrorCode, ErrorContext } from '../base/errors.js'
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
import type { MapDelta } from '../model/cluster-map.js'
import type {
  ClusterMode,
  Device,
  Endpoint,
  FaultSet,
  Mapping,
  Mdm,
  MdmKind,
  ProtectionDomain,
  Sdc,
  Sds,
  StoragePool,
  System,
  Volume,
} from '../model/objects.js'
import { count, finite, hexId, list, text } from './schema.js'

export const controlVersion = 1

export type ControlMessage =
  | { kind: 'request'; id: number; name: string; params: unknown }
  | { kind: 'answer'; id: number; result: unknown }
  | { kind: 'answer'; id: number; error: WireError }
  | { kind: 'notice'; name: string; params: unknown }

/** A `StorageError` on its way. */
export interface WireError {
  code: ErrorCode
  context: ErrorContext & { detail?: string }
}

/** Names an object by its id or by its name. */
const ref = text(1, 64)
const name = text(0, 256)
const endpoint = v.object({
  host: text(1, 255),
  port: v.pipe(v.number(), v.safeInteger(), v.minValue(1), v.maxValue(65535)),
})
const limit = v.nullable(count)

export const ioPolicySchema = v.variant('kind', [
  v.object({ kind: v.literal('unlimited') }),
  v.object({ kind: v.literal('limitNumOfConcurrentIos'), concurrentIos: count }),
  v.object({ kind: v.literal('favorAppIos'), concurrentIos: count, bandwidthKbPerSec: count }),
  v.object({
    kind: v.literal('dynamicBwThrottling'),
    concurrentIos: count,
    bandwidthKbPerSec: count,
    appIopsThreshold: count,
    appBandwidthKbPerSecThreshold: count,
    quietPeriodMs: count,
  }),
])

/** What an SDS found on one of its devices when it opened it. */
const openedDevice = v.object({
  deviceId: hexId,
  path: v.string(),
  capacityBytes: count,
  /** Stopped cleanly: nothing unfinished, everything synced (rule 6). */
  cleanStop: v.boolean(),
  /** The host has not restarted since the device was last open, so that nothing answered is lost. */
  sameBoot: v.boolean(),
  /** The highest epoch of any slice that this device has adopted. */
  epochMax: count,
  /** The highest number of any volume that it has chunks of; absent: none. */
  volumeMax: v.optional(count),
})
export type OpenedDevice = v.InferOutput<typeof openedDevice>

const mdmKind = v.picklist(['manager', 'tieBreaker'])

/** Requests that the MDM answers: the parameters, checked where they arrive. */
export const mdmRequests = {
  // --- Every connection begins with this. An MDM that is not master answers NOT_MASTER to it and to all that follows but
  // `queryCluster`; the error's context has `master` ("host:port") where one is known. The same goes for requests that a
  // master could not bring to an end before it lost that role: they may have been done, and are sent again elsewhere.
  hello: v.object({
    version: v.literal(controlVersion),
    role: v.picklist(['sds', 'sdc', 'tool', 'mdm']),
    /** null: not yet part of a system (or a tool that takes any). Another system's is refused: WRONG_SYSTEM. */
    systemId: v.nullable(hexId),
    /** For people and logs. */
    name,
    /** Names this client over reconnects: a change asked again with the same request id is answered, not done, again. */
    client: v.optional(text(1, 64)),
    /** Of daemons that have a map: its system's era, '' for the first one. Another one's is refused: WRONG_SYSTEM. */
    era: v.optional(text(0, 64)),
    /** Of role `mdm`: who it is; `want`: whom it expects here (another one answers WRONG_SYSTEM). */
    mdm: v.optional(
      v.object({ id: v.nullable(hexId), kind: mdmKind, endpoint, release: text(0, 64), want: v.nullable(hexId) }),
    ),
  }),

  // --- Daemons.
  registerSds: v.object({
    guid: text(1, 64),
    processId: text(1, 64),
    endpoint,
    devices: list(openedDevice, 64),
  }),
  registerSdc: v.object({ guid: text(1, 64), processId: text(1, 64), name }),
  /** From now on `map` notices come, beginning with what is missing from `fromVersion`. */
  subscribe: v.object({ fromVersion: count }),
  /**
   * The SDS is about to stop: what it leads goes to the other copies, as far as they can take it. Answered when that is
   * done or given up, after 5 s at the latest.
   */
  handOver: v.object({ incarnation: count }),
  /** The primary reports that the joining copy of these slices is complete and durable. */
  copiesJoined: v.object({
    incarnation: count,
    poolId: hexId,
    slices: list(v.object({ slice: count, epoch: count, joining: hexId }), 65536),
  }),

  // --- Administration. Every change is answered when it is committed.
  addProtectionDomain: v.object({ name }),
  renameProtectionDomain: v.object({ protectionDomain: ref, newName: name }),
  removeProtectionDomain: v.object({ protectionDomain: ref }),

  addFaultSet: v.object({ protectionDomain: ref, name }),
  renameFaultSet: v.object({ faultSet: ref, newName: name, protectionDomain: v.optional(ref) }),
  removeFaultSet: v.object({ faultSet: ref, protectionDomain: v.optional(ref) }),

  addStoragePool: v.object({
    protectionDomain: ref,
    name,
    /** Default: true. */
    zeroPadding: v.optional(v.boolean()),
    /** Default: null, the largest fault unit. */
    sparePercent: v.optional(v.nullable(finite)),
    sliceCount: v.optional(count),
  }),
  renameStoragePool: v.object({ pool: ref, newName: name, protectionDomain: v.optional(ref) }),
  removeStoragePool: v.object({ pool: ref, protectionDomain: v.optional(ref) }),
  setZeroPadding: v.object({ pool: ref, protectionDomain: v.optional(ref), zeroPadding: v.boolean() }),
  setSparePercent: v.object({ pool: ref, protectionDomain: v.optional(ref), sparePercent: v.nullable(finite) }),
  setLimitPolicy: v.object({
    pool: ref,
    protectionDomain: v.optional(ref),
    policy: v.nullable(v.object({ iops: count, bandwidthKbPerSecPerGb: count })),
  }),

  /** How fast joining copies are filled, per device; null: the default. */
  setRebuildPolicy: v.object({ pool: ref, protectionDomain: v.optional(ref), policy: v.nullable(ioPolicySchema) }),
  setRebalancePolicy: v.object({ pool: ref, protectionDomain: v.optional(ref), policy: v.nullable(ioPolicySchema) }),
  /** How long a copy may be away before its slices are copied elsewhere; null: the default. */
  setGracePeriod: v.object({ pool: ref, protectionDomain: v.optional(ref), gracePeriodMs: v.nullable(count) }),

  /** Its copies leave, frozen, and nobody copies them elsewhere; refused where any data would be left without a copy. */
  enterMaintenance: v.object({ sds: ref }),
  /** They join again, by what was written meanwhile. */
  exitMaintenance: v.object({ sds: ref }),

  /** The SDS daemon at `endpoint` must have contacted this MDM. */
  addSds: v.object({ protectionDomain: ref, faultSet: v.optional(ref), name, endpoint }),
  renameSds: v.object({ sds: ref, newName: name }),
  removeSds: v.object({ sds: ref }),

  addDevice: v.object({
    sds: ref,
    pool: ref,
    protectionDomain: v.optional(ref),
    path: text(1, 4096),
    name: v.optional(name),
    /** For a file that does not exist yet: its size. */
    sizeBytes: v.optional(count),
    /** Take over a device that holds something else. */
    force: v.optional(v.boolean()),
  }),
  /** The failed device works again: it begins anew, empty, unless it holds the only copy of something. */
  clearDeviceError: v.object({ device: ref }),
  /** Its file or disk has grown: takes in what it has grown by. */
  growDevice: v.object({ device: ref }),
  renameDevice: v.object({ device: ref, newName: name }),
  removeDevice: v.object({ device: ref }),

  addVolume: v.object({
    pool: ref,
    protectionDomain: v.optional(ref),
    name,
    sizeBytes: count,
    type: v.picklist(['thin', 'thick']),
  }),
  renameVolume: v.object({ volume: ref, newName: name }),
  growVolume: v.object({ volume: ref, sizeBytes: count }),
  removeVolume: v.object({ volume: ref }),

  mapVolume: v.object({
    volume: ref,
    sdc: ref,
    accessMode: v.optional(v.picklist(['ReadWrite', 'ReadOnly'])),
    allowMultipleMappings: v.optional(v.boolean()),
    iopsLimit: v.optional(limit),
    bandwidthLimitKbPerSec: v.optional(limit),
  }),
  /** Answered when the SDC has stopped, or when no SDS serves it any more (rule 8). */
  unmapVolume: v.object({ volume: ref, sdc: v.optional(ref), force: v.optional(v.boolean()) }),
  /** A field left out keeps its value; 0 is unlimited, null follows the pool's policy. */
  setMappingLimits: v.object({
    volume: ref,
    sdc: ref,
    iopsLimit: v.optional(limit),
    bandwidthLimitKbPerSec: v.optional(limit),
  }),

  renameSdc: v.object({ sdc: ref, newName: name }),
  removeSdc: v.object({ sdc: ref }),

  // --- The configuration as a whole.
  exportConfiguration: v.object({}),
  /** Only into an MDM without objects. The system then stands still until all SDSs have come, or people accept it. */
  importConfiguration: v.object({ text: v.string() }),
  /** Goes on with a configuration that is older than what SDSs know. `force`: without those that have not come. */
  acceptConfiguration: v.object({ force: v.optional(v.boolean()) }),
  queryRecovery: v.object({}),
  // --- The MDM cluster. A change is answered when it is complete, TIMED_OUT while it still goes on by itself.
  /** What this MDM knows of the cluster, as `ClusterReport`: answered by every MDM, master or not, also after NOT_MASTER. */
  queryCluster: v.object({}),
  /** Attaches the MDM that waits at `endpoint`; it must be of that kind, and of no other system. */
  addStandbyMdm: v.object({ name, endpoint, kind: mdmKind }),
  /** Only one that stands by. */
  removeStandbyMdm: v.object({ mdm: ref }),
  /**
   * 1, 3 or 5 members. `add`: standbys, only when growing; `remove`: members, only when shrinking; as many of each kind
   * as the mode wants. None of the members to be may be disconnected.
   */
  switchClusterMode: v.object({
    mode: v.picklist([1, 3, 5]),
    add: v.optional(list(ref, 8)),
    remove: v.optional(list(ref, 8)),
  }),
  /** A standby takes the place of a member of its kind, which may be gone for good. */
  replaceClusterMdm: v.object({ add: ref, remove: ref }),
  /** `mdm` becomes master; refused while it is not synchronized. */
  switchMdmOwnership: v.object({ mdm: ref }),
  renameMdm: v.object({ mdm: ref, newName: name }),

  /** Asks for nothing but an answer: whoever has heard nothing for a while sees whether the master lives. */
  ping: v.object({}),
  /** Everything there is to know, as `SystemReport`. */
  query: v.object({}),
} as const
export type MdmRequests = { [N in keyof typeof mdmRequests]: v.InferOutput<(typeof mdmRequests)[N]> }
export type MdmRequestName = keyof MdmRequests

/** What the MDM answers. Requests not named here answer `{}`. */
export interface MdmAnswers {
  hello: { systemId: SystemId; mapVersion: number; mdmName: string }
  queryCluster: ClusterReport
  addStandbyMdm: { id: MdmId }
  /** null: this SDS has not been added to the system; it stays connected and waits for `adopted`. */
  registerSds: { sdsId: SdsId; incarnation: number } | null
  registerSdc: { sdcId: SdcId; incarnation: number }
  addProtectionDomain: { id: ProtectionDomainId }
  addFaultSet: { id: FaultSetId }
  addStoragePool: { id: PoolId }
  addSds: { id: SdsId }
  /** False: its devices are drained first, and it goes by itself. */
  removeSds: { removed: boolean }
  removeDevice: { removed: boolean }
  addDevice: { id: DeviceId; capacityBytes: number }
  growDevice: { capacityBytes: number }
  addVolume: { id: VolumeId; sizeBytes: number }
  mapVolume: { id: MappingId }
  exportConfiguration: { text: string }
  /** `mapVersion`: of the system when it was exported. */
  importConfiguration: { systemId: SystemId; mapVersion: number }
  /** What became void: see core/mdm/acceptance. */
  acceptConfiguration: {
    unheard: DeviceId[]
    slicesMoved: number
    copiesDropped: number
    slicesUnproven: number
    volumes: number[]
  }
  /** null: the system does not stand still. */
  queryRecovery: { recovery: RecoveryReport | null }
  query: SystemReport
}
export type AnswerOf<N extends MdmRequestName> = N extends keyof MdmAnswers ? MdmAnswers[N] : Record<string, never>

/** Requests that the MDM makes of an SDS on the connection that the SDS opened. */
export const sdsRequests = {
  /** Initialise a device: superblock, empty index. Refuses what is not empty unless `force`; idempotent per deviceId. */
  prepareDevice: v.object({
    deviceId: hexId,
    systemId: hexId,
    path: text(1, 4096),
    sizeBytes: v.nullable(count),
    force: v.boolean(),
  }),
  /** No slice needs what this device holds: close it, if it is open, and make it anew, empty. */
  resetDevice: v.object({ deviceId: hexId, systemId: hexId, path: text(1, 4096) }),
  /** Look whether the disk has grown, and take it in. */
  growDevice: v.object({ deviceId: hexId }),
  /** What the device knows of the slices that it is or was a copy of: for going on with an older configuration. */
  knownCopies: v.object({ deviceId: hexId }),
  /** The device left the system: close it and clear its superblock. */
  releaseDevice: v.object({ deviceId: hexId }),
  /**
   * Before a planned swap: admit nothing more in these slices (requests wait), finish what is under way on all copies,
   * and answer. Void, and admitting again, when a slice's record changes or after `forMs`.
   */
  drainSlices: v.object({
    poolId: hexId,
    slices: list(v.object({ slice: count, epoch: count }), 65536),
    forMs: count,
  }),
} as const
export type SdsRequests = { [N in keyof typeof sdsRequests]: v.InferOutput<(typeof sdsRequests)[N]> }
export interface SdsAnswers {
  prepareDevice: { capacityBytes: number; path: string }
  resetDevice: { capacityBytes: number; path: string }
  growDevice: { capacityBytes: number }
  releaseDevice: Record<string, never>
  /** `copies`: pool number, slice, epoch, and 1 where it was in sync in it. `volumes`: numbers of those it has chunks of. */
  knownCopies: { copies: [number, number, number, 0 | 1][]; volumes: number[] }
  /** The slices that are drained; others were not primary here in that epoch, or did not finish in time. */
  drainSlices: { slices: number[] }
}

/** Notices from daemons to the MDM. */
export const mdmNotices = {
  /** Everything up to this version is in effect: exports closed, requests of removed mappings finished. */
  mapAck: v.object({ version: count }),
  /** About once a second: what an SDS's devices hold and do. */
  sdsStatus: v.object({
    devices: v.array(
      v.object({
        deviceId: hexId,
        error: v.nullable(v.string()),
        slotsTotal: count,
        slotsUsed: count,
        thinChunks: count,
        thickChunks: count,
        /** Chunks still to copy to joining copies, of those that this device fills as primary. */
        resyncChunksLeft: count,
        /** All chunks of the same fills, those already copied too. */
        resyncChunksTotal: v.optional(count),
        /** Bytes that it has copied to joining copies since its process started; of these, where marks sufficed. */
        resyncBytesCopied: v.optional(count),
        resyncBytesByMarks: v.optional(count),
        /** Slices of which it is primary whose joining copy has no room: fill and writes wait for another record. */
        joiningFull: v.optional(v.array(v.object({ slice: count, epoch: count }))),
        /**
         * Slices of which it lost the primary's role with changes under way that nobody may ever send again: the two
         * copies may differ, and the secondary has to leave and be filled by the marks.
         */
        unsound: v.optional(v.array(v.object({ slice: count, epoch: count }))),
      }),
    ),
  }),
  /**
   * Four times a second: this process lives, and these other SDSs have answered none of its lease requests for so long
   * (`refused`: nobody listens there, so the process is gone).
   */
  sdsAlive: v.object({
    incarnation: count,
    unreachable: list(v.object({ sdsId: hexId, forMs: count, refused: v.boolean() }), 1024),
  }),
  /**
   * Twice a second while there are any, and once when there are none any more: SDSs of which this SDC wants something
   * and gets no word, and others that answer it.
   */
  sdcReach: v.object({ unreachable: list(hexId, 1024), reached: list(hexId, 1024) }),
  /** When it changes: where an SDC exports its volumes. */
  sdcStatus: v.object({
    exports: v.array(
      v.object({
        volumeId: hexId,
        /** nbd+unix:///NAME?socket=PATH */
        uri: v.string(),
        /** /dev/nbdX where the kernel door is open. */
        device: v.nullable(v.string()),
        /** Not empty: why something is missing. */
        error: v.nullable(v.string()),
      }),
    ),
  }),
} as const
export type MdmNotices = { [N in keyof typeof mdmNotices]: v.InferOutput<(typeof mdmNotices)[N]> }

/** Notices from the MDM to daemons. */
export interface DaemonNotices {
  /** In log order. `whole`: the first delta replaces everything that the daemon had. */
  map: { whole: boolean; deltas: MapDelta[] }
  /** To an SDS that had not been added and now is: register again. */
  adopted: Record<string, never>
}

/** Words of ScaleIO's `query_cluster`. */
export type ClusterState = 'Normal' | 'Degraded' | 'Error' | 'Not attached'
export type MdmRole = 'Master' | 'Slave' | 'Tie Breaker' | 'Standby'
/** `Error`: it has other data than the master, or none at all, under its name; `detail` says more. */
export type MdmStatus = 'Normal' | 'Disconnected' | 'Not synchronized' | 'Error'

/** The MDM cluster as one MDM sees it. Only the master knows how far the others are. */
export interface ClusterReport {
  /** null: the MDM that answers is not attached to any system. */
  systemId: SystemId | null
  systemName: string | null
  /** null: not known to the MDM that answers. */
  mode: ClusterMode | null
  /** Normal: every member is connected and synchronized. Error: no majority, so that nothing can be changed. */
  state: ClusterState
  /** Why it is not normal, for people. */
  detail: string | null
  /** Members are being added or removed. */
  changing: boolean
  /** Members that are well; of these, managers that have everything. */
  active: { now: number; max: number }
  replicas: { now: number; max: number }
  /** The MDM that answers. */
  self: { id: MdmId | null; name: string; kind: MdmKind; role: MdmRole; release: string }
  masterId: MdmId | null
  term: number
  /** Newest log entry that is applied (by a tie breaker: accepted). */
  index: number
  /** Members first, the master at their head. */
  mdms: ClusterMdm[]
}

export interface ClusterMdm extends Mdm {
  role: MdmRole
  status: MdmStatus
  detail: string | null
  /** Of its program; null while it has never been met. */
  release: string | null
  /** How far it is known to be. */
  index: number | null
}

/** What an MDM answers to the hello of another one. */
export interface PeerWelcome {
  /** null: it is not attached to any system. */
  systemId: SystemId | null
  mdmName: string
  mdm: { id: MdmId | null; kind: MdmKind; release: string }
}

const term = count
const position = v.object({ term, index: count })
const member = v.object({ id: hexId, kind: mdmKind, isLearner: v.boolean() })
const members = list(member, 64)
const bytes = v.instance(Uint8Array)
const logEntry = v.object({ index: count, term, payload: v.nullable(bytes), members: v.optional(members) })
const envelope = { from: hexId, to: hexId, term }

/** Messages of the consensus: core/raft/types.ts says what they mean. */
export const raftMessage = v.variant('type', [
  v.object({ ...envelope, type: v.literal('vote'), isPre: v.boolean(), last: position, isTransfer: v.boolean() }),
  v.object({ ...envelope, type: v.literal('voteAnswer'), isPre: v.boolean(), isGranted: v.boolean() }),
  v.object({
    ...envelope,
    type: v.literal('append'),
    prev: position,
    entries: list(logEntry, 4096),
    commit: count,
  }),
  v.object({ ...envelope, type: v.literal('appendAnswer'), index: count }),
  v.object({ ...envelope, type: v.literal('appendRefusal'), prevIndex: count, hint: position }),
  v.object({
    ...envelope,
    type: v.literal('heartbeat'),
    commit: count,
    round: count,
    members: v.nullable(members),
  }),
  v.object({ ...envelope, type: v.literal('heartbeatAnswer'), round: count }),
  v.object({ ...envelope, type: v.literal('offer'), index: count }),
  v.object({ ...envelope, type: v.literal('offerAnswer'), index: count }),
  v.object({ ...envelope, type: v.literal('newerTerm') }),
  v.object({ ...envelope, type: v.literal('timeoutNow') }),
  v.object({ ...envelope, type: v.literal('readIndex'), context: count }),
  v.object({ ...envelope, type: v.literal('readIndexAnswer'), context: count, index: count }),
])

/** What MDMs tell each other, on connections of either's making. */
export const peerNotices = {
  raft: v.object({ messages: list(raftMessage, 4096) }),
} as const
export type PeerNotices = { [N in keyof typeof peerNotices]: v.InferOutput<(typeof peerNotices)[N]> }

/** What the MDM that opened a connection asks of the other one. */
export const peerRequests = {
  /** The MDM stands by for this system from now on. Refused with another system's data, or of another kind. */
  attach: v.object({ systemId: hexId, id: hexId, kind: mdmKind }),
  /** It leaves the system and forgets everything. */
  detach: v.object({ id: hexId }),
  /** Twice a second: how far it is. */
  peerStatus: v.object({}),
  /** The master has other effects of the log up to `index`: the MDM applies nothing more, and does not lead. */
  diverged: v.object({ index: count, digest: text(0, 128) }),
  /** A piece of a snapshot, in order; offset 0 begins anew. */
  snapshotPiece: v.object({
    head: v.object({ index: count, term, members }),
    offset: count,
    total: count,
    bytes,
  }),
} as const
export type PeerRequests = { [N in keyof typeof peerRequests]: v.InferOutput<(typeof peerRequests)[N]> }
export type PeerRequestName = keyof PeerRequests
export interface PeerAnswers {
  attach: Record<string, never>
  detach: Record<string, never>
  /**
   * `digest`: over all that it has applied up to `index`; null of a tie breaker. `votes`: whether the one that asks is a
   * member as of there; null: it does not know.
   */
  peerStatus: { term: number; index: number; digest: string | null; failure: string | null; votes: boolean | null }
  diverged: Record<string, never>
  /** False: it is not needed, or not any more. */
  snapshotPiece: { wanted: boolean }
}

/** The state of the system at one moment, for people and programs. */
export interface SystemReport {
  system: System
  mdms: Mdm[]
  mapVersion: number
  protectionDomains: ProtectionDomain[]
  faultSets: FaultSet[]
  pools: (StoragePool & {
    capacity: PoolCapacity
    slices: SliceSummary
    /** Filling slices that lack a copy, and moving copies to where they are wished. */
    rebuild?: FillProgress
    rebalance?: FillProgress
  })[]
  /** `oscillations`: how often it was thrown out in the last minute, hour and day. */
  sdss: (Sds & {
    connected: boolean
    devices: number
    oscillations?: { short: number; medium: number; long: number }
  })[]
  devices: (Device & { connected: boolean; usage: MdmNotices['sdsStatus']['devices'][number] | null })[]
  volumes: (Volume & { mappedTo: number })[]
  sdcs: (Sdc & { connected: boolean; address: Endpoint | null; exports: MdmNotices['sdcStatus']['exports'] })[]
  mappings: (Mapping & { effectiveIops: number; effectiveBandwidthKbPerSec: number })[]
}

/** Why the system stands still, and who could change that. */
export interface RecoveryReport {
  why: 'imported' | 'behind'
  /** Devices that have not been heard of. */
  missing: string[]
  newer: { sds: string; detail: string }[]
}

/** `percent`: 0 to 100, whole; 100 where nothing is left. */
export interface FillProgress {
  bytesLeft: number
  bytesTotal: number
  percent: number
  slicesLeft: number
}

/** Bytes. `usable` counts data once; the others up to `spareBytes` count both copies. */
export interface PoolCapacity {
  rawBytes: number
  inUseBytes: number
  spareBytes: number
  /** What volumes may hold: half of raw less spare. */
  usableBytes: number
  thickReservedBytes: number
  thinAllocatedBytes: number
  thinProvisionedBytes: number
  /** What a new thick volume may still take, rounded down to 8 GB. */
  freeForVolumesBytes: number
}

export interface SliceSummary {
  total: number
  /** Two copies in sync, both SDSs connected. */
  healthy: number
  /** Being filled. */
  joining: number
  /** A copy is unreachable or missing. */
  degraded: number
  /** No copy that may serve is reachable. */
  failed: number
}
