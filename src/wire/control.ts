/**
 * The control protocol, whole: what daemons and tools say to the MDM, and the MDM to them. One TCP connection carries
 * messages both ways, each a u32 length (big-endian) and that many bytes of msgpack. Either side may ask: a `request`
 * is answered by one `answer` with its id; a `notice` is not answered. docs/PROTOCOL.md tells the story.
 */
import { z } from 'zod'
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

const hexId = z.string().regex(/^[0-9a-f]{16}$/, 'an id is 16 lower-case hexadecimal digits')
const count = z.number().int().nonnegative()
/** Names an object by its id or by its name. */
const ref = z.string().min(1).max(64)
const name = z.string().max(256)
const endpoint = z.object({ host: z.string().min(1).max(255), port: z.number().int().min(1).max(65535) })
const limit = count.nullable()

export const ioPolicySchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('unlimited') }),
  z.object({ kind: z.literal('limitNumOfConcurrentIos'), concurrentIos: count }),
  z.object({ kind: z.literal('favorAppIos'), concurrentIos: count, bandwidthKbPerSec: count }),
  z.object({
    kind: z.literal('dynamicBwThrottling'),
    concurrentIos: count,
    bandwidthKbPerSec: count,
    appIopsThreshold: count,
    appBandwidthKbPerSecThreshold: count,
    quietPeriodMs: count,
  }),
])

/** What an SDS found on one of its devices when it opened it. */
const openedDevice = z.object({
  deviceId: hexId,
  path: z.string(),
  capacityBytes: count,
  /** Stopped cleanly: nothing unfinished, everything synced (rule 6). */
  cleanStop: z.boolean(),
  /** The host has not restarted since the device was last open, so that nothing answered is lost. */
  sameBoot: z.boolean(),
  /** The highest epoch of any slice that this device has adopted. */
  epochMax: count,
  /** The highest number of any volume that it has chunks of; absent: none. */
  volumeMax: count.optional(),
})
export type OpenedDevice = z.infer<typeof openedDevice>

const mdmKind = z.enum(['manager', 'tieBreaker'])

/** Requests that the MDM answers: the parameters, checked where they arrive. */
export const mdmRequests = {
  // --- Every connection begins with this. An MDM that is not master answers NOT_MASTER to it and to all that follows but
  // `queryCluster`; the error's context has `master` ("host:port") where one is known. The same goes for requests that a
  // master could not bring to an end before it lost that role: they may have been done, and are sent again elsewhere.
  hello: z.object({
    version: z.literal(controlVersion),
    role: z.enum(['sds', 'sdc', 'tool', 'mdm']),
    /** null: not yet part of a system (or a tool that takes any). Another system's is refused: WRONG_SYSTEM. */
    systemId: hexId.nullable(),
    /** For people and logs. */
    name,
    /** Names this client over reconnects: a change asked again with the same request id is answered, not done, again. */
    client: z.string().min(1).max(64).optional(),
    /** Of daemons that have a map: its system's era, '' for the first one. Another one's is refused: WRONG_SYSTEM. */
    era: z.string().max(64).optional(),
    /** Of role `mdm`: who it is; `want`: whom it expects here (another one answers WRONG_SYSTEM). */
    mdm: z
      .object({ id: hexId.nullable(), kind: mdmKind, endpoint, release: z.string().max(64), want: hexId.nullable() })
      .optional(),
  }),

  // --- Daemons.
  registerSds: z.object({
    guid: z.string().min(1).max(64),
    processId: z.string().min(1).max(64),
    endpoint,
    devices: z.array(openedDevice).max(64),
  }),
  registerSdc: z.object({ guid: z.string().min(1).max(64), processId: z.string().min(1).max(64), name }),
  /** From now on `map` notices come, beginning with what is missing from `fromVersion`. */
  subscribe: z.object({ fromVersion: count }),
  /**
   * The SDS is about to stop: what it leads goes to the other copies, as far as they can take it. Answered when that is
   * done or given up, after 5 s at the latest.
   */
  handOver: z.object({ incarnation: count }),
  /** The primary reports that the joining copy of these slices is complete and durable. */
  copiesJoined: z.object({
    incarnation: count,
    poolId: hexId,
    slices: z.array(z.object({ slice: count, epoch: count, joining: hexId })).max(65536),
  }),

  // --- Administration. Every change is answered when it is committed.
  addProtectionDomain: z.object({ name }),
  renameProtectionDomain: z.object({ protectionDomain: ref, newName: name }),
  removeProtectionDomain: z.object({ protectionDomain: ref }),

  addFaultSet: z.object({ protectionDomain: ref, name }),
  renameFaultSet: z.object({ faultSet: ref, newName: name, protectionDomain: ref.optional() }),
  removeFaultSet: z.object({ faultSet: ref, protectionDomain: ref.optional() }),

  addStoragePool: z.object({
    protectionDomain: ref,
    name,
    /** Default: true. */
    zeroPadding: z.boolean().optional(),
    /** Default: null, the largest fault unit. */
    sparePercent: z.number().nullable().optional(),
    sliceCount: count.optional(),
  }),
  renameStoragePool: z.object({ pool: ref, newName: name, protectionDomain: ref.optional() }),
  removeStoragePool: z.object({ pool: ref, protectionDomain: ref.optional() }),
  setZeroPadding: z.object({ pool: ref, protectionDomain: ref.optional(), zeroPadding: z.boolean() }),
  setSparePercent: z.object({ pool: ref, protectionDomain: ref.optional(), sparePercent: z.number().nullable() }),
  setLimitPolicy: z.object({
    pool: ref,
    protectionDomain: ref.optional(),
    policy: z.object({ iops: count, bandwidthKbPerSecPerGb: count }).nullable(),
  }),

  /** How fast joining copies are filled, per device; null: the default. */
  setRebuildPolicy: z.object({ pool: ref, protectionDomain: ref.optional(), policy: ioPolicySchema.nullable() }),
  setRebalancePolicy: z.object({ pool: ref, protectionDomain: ref.optional(), policy: ioPolicySchema.nullable() }),
  /** How long a copy may be away before its slices are copied elsewhere; null: the default. */
  setGracePeriod: z.object({ pool: ref, protectionDomain: ref.optional(), gracePeriodMs: count.nullable() }),

  /** Its copies leave, frozen, and nobody copies them elsewhere; refused where any data would be left without a copy. */
  enterMaintenance: z.object({ sds: ref }),
  /** They join again, by what was written meanwhile. */
  exitMaintenance: z.object({ sds: ref }),

  /** The SDS daemon at `endpoint` must have contacted this MDM. */
  addSds: z.object({ protectionDomain: ref, faultSet: ref.optional(), name, endpoint }),
  renameSds: z.object({ sds: ref, newName: name }),
  removeSds: z.object({ sds: ref }),

  addDevice: z.object({
    sds: ref,
    pool: ref,
    protectionDomain: ref.optional(),
    path: z.string().min(1).max(4096),
    name: name.optional(),
    /** For a file that does not exist yet: its size. */
    sizeBytes: count.optional(),
    /** Take over a device that holds something else. */
    force: z.boolean().optional(),
  }),
  /** The failed device works again: it begins anew, empty, unless it holds the only copy of something. */
  clearDeviceError: z.object({ device: ref }),
  /** Its file or disk has grown: takes in what it has grown by. */
  growDevice: z.object({ device: ref }),
  renameDevice: z.object({ device: ref, newName: name }),
  removeDevice: z.object({ device: ref }),

  addVolume: z.object({
    pool: ref,
    protectionDomain: ref.optional(),
    name,
    sizeBytes: count,
    type: z.enum(['thin', 'thick']),
  }),
  renameVolume: z.object({ volume: ref, newName: name }),
  growVolume: z.object({ volume: ref, sizeBytes: count }),
  removeVolume: z.object({ volume: ref }),

  mapVolume: z.object({
    volume: ref,
    sdc: ref,
    accessMode: z.enum(['ReadWrite', 'ReadOnly']).optional(),
    allowMultipleMappings: z.boolean().optional(),
    iopsLimit: limit.optional(),
    bandwidthLimitKbPerSec: limit.optional(),
  }),
  /** Answered when the SDC has stopped, or when no SDS serves it any more (rule 8). */
  unmapVolume: z.object({ volume: ref, sdc: ref.optional(), force: z.boolean().optional() }),
  /** A field left out keeps its value; 0 is unlimited, null follows the pool's policy. */
  setMappingLimits: z.object({
    volume: ref,
    sdc: ref,
    iopsLimit: limit.optional(),
    bandwidthLimitKbPerSec: limit.optional(),
  }),

  renameSdc: z.object({ sdc: ref, newName: name }),
  removeSdc: z.object({ sdc: ref }),

  // --- The configuration as a whole.
  exportConfiguration: z.object({}),
  /** Only into an MDM without objects. The system then stands still until all SDSs have come, or people accept it. */
  importConfiguration: z.object({ text: z.string() }),
  /** Goes on with a configuration that is older than what SDSs know. `force`: without those that have not come. */
  acceptConfiguration: z.object({ force: z.boolean().optional() }),
  queryRecovery: z.object({}),
  // --- The MDM cluster. A change is answered when it is complete, TIMED_OUT while it still goes on by itself.
  /** What this MDM knows of the cluster, as `ClusterReport`: answered by every MDM, master or not, also after NOT_MASTER. */
  queryCluster: z.object({}),
  /** Attaches the MDM that waits at `endpoint`; it must be of that kind, and of no other system. */
  addStandbyMdm: z.object({ name, endpoint, kind: mdmKind }),
  /** Only one that stands by. */
  removeStandbyMdm: z.object({ mdm: ref }),
  /**
   * 1, 3 or 5 members. `add`: standbys, only when growing; `remove`: members, only when shrinking; as many of each kind
   * as the mode wants. None of the members to be may be disconnected.
   */
  switchClusterMode: z.object({
    mode: z.union([z.literal(1), z.literal(3), z.literal(5)]),
    add: z.array(ref).max(8).optional(),
    remove: z.array(ref).max(8).optional(),
  }),
  /** A standby takes the place of a member of its kind, which may be gone for good. */
  replaceClusterMdm: z.object({ add: ref, remove: ref }),
  /** `mdm` becomes master; refused while it is not synchronized. */
  switchMdmOwnership: z.object({ mdm: ref }),
  renameMdm: z.object({ mdm: ref, newName: name }),

  /** Asks for nothing but an answer: whoever has heard nothing for a while sees whether the master lives. */
  ping: z.object({}),
  /** Everything there is to know, as `SystemReport`. */
  query: z.object({}),
} as const
export type MdmRequests = { [N in keyof typeof mdmRequests]: z.infer<(typeof mdmRequests)[N]> }
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
  prepareDevice: z.object({
    deviceId: hexId,
    systemId: hexId,
    path: z.string().min(1).max(4096),
    sizeBytes: count.nullable(),
    force: z.boolean(),
  }),
  /** No slice needs what this device holds: close it, if it is open, and make it anew, empty. */
  resetDevice: z.object({ deviceId: hexId, systemId: hexId, path: z.string().min(1).max(4096) }),
  /** Look whether the disk has grown, and take it in. */
  growDevice: z.object({ deviceId: hexId }),
  /** What the device knows of the slices that it is or was a copy of: for going on with an older configuration. */
  knownCopies: z.object({ deviceId: hexId }),
  /** The device left the system: close it and clear its superblock. */
  releaseDevice: z.object({ deviceId: hexId }),
  /**
   * Before a planned swap: admit nothing more in these slices (requests wait), finish what is under way on all copies,
   * and answer. Void, and admitting again, when a slice's record changes or after `forMs`.
   */
  drainSlices: z.object({
    poolId: hexId,
    slices: z.array(z.object({ slice: count, epoch: count })).max(65536),
    forMs: count,
  }),
} as const
export type SdsRequests = { [N in keyof typeof sdsRequests]: z.infer<(typeof sdsRequests)[N]> }
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
  mapAck: z.object({ version: count }),
  /** About once a second: what an SDS's devices hold and do. */
  sdsStatus: z.object({
    devices: z.array(
      z.object({
        deviceId: hexId,
        error: z.string().nullable(),
        slotsTotal: count,
        slotsUsed: count,
        thinChunks: count,
        thickChunks: count,
        /** Chunks still to copy to joining copies, of those that this device fills as primary. */
        resyncChunksLeft: count,
        /** All chunks of the same fills, those already copied too. */
        resyncChunksTotal: count.optional(),
        /** Bytes that it has copied to joining copies since its process started; of these, where marks sufficed. */
        resyncBytesCopied: count.optional(),
        resyncBytesByMarks: count.optional(),
        /** Slices of which it is primary whose joining copy has no room: fill and writes wait for another record. */
        joiningFull: z.array(z.object({ slice: count, epoch: count })).optional(),
        /**
         * Slices of which it lost the primary's role with changes under way that nobody may ever send again: the two
         * copies may differ, and the secondary has to leave and be filled by the marks.
         */
        unsound: z.array(z.object({ slice: count, epoch: count })).optional(),
      }),
    ),
  }),
  /**
   * Four times a second: this process lives, and these other SDSs have answered none of its lease requests for so long
   * (`refused`: nobody listens there, so the process is gone).
   */
  sdsAlive: z.object({
    incarnation: count,
    unreachable: z.array(z.object({ sdsId: hexId, forMs: count, refused: z.boolean() })).max(1024),
  }),
  /**
   * Twice a second while there are any, and once when there are none any more: SDSs of which this SDC wants something
   * and gets no word, and others that answer it.
   */
  sdcReach: z.object({ unreachable: z.array(hexId).max(1024), reached: z.array(hexId).max(1024) }),
  /** When it changes: where an SDC exports its volumes. */
  sdcStatus: z.object({
    exports: z.array(
      z.object({
        volumeId: hexId,
        /** nbd+unix:///NAME?socket=PATH */
        uri: z.string(),
        /** /dev/nbdX where the kernel door is open. */
        device: z.string().nullable(),
        /** Not empty: why something is missing. */
        error: z.string().nullable(),
      }),
    ),
  }),
} as const
export type MdmNotices = { [N in keyof typeof mdmNotices]: z.infer<(typeof mdmNotices)[N]> }

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
const position = z.object({ term, index: count })
const member = z.object({ id: hexId, kind: mdmKind, isLearner: z.boolean() })
const members = z.array(member).max(64)
const bytes = z.instanceof(Uint8Array)
const logEntry = z.object({ index: count, term, payload: bytes.nullable(), members: members.optional() })
const envelope = { from: hexId, to: hexId, term }

/** Messages of the consensus: core/raft/types.ts says what they mean. */
export const raftMessage = z.discriminatedUnion('type', [
  z.object({ ...envelope, type: z.literal('vote'), isPre: z.boolean(), last: position, isTransfer: z.boolean() }),
  z.object({ ...envelope, type: z.literal('voteAnswer'), isPre: z.boolean(), isGranted: z.boolean() }),
  z.object({
    ...envelope,
    type: z.literal('append'),
    prev: position,
    entries: z.array(logEntry).max(4096),
    commit: count,
  }),
  z.object({ ...envelope, type: z.literal('appendAnswer'), index: count }),
  z.object({ ...envelope, type: z.literal('appendRefusal'), prevIndex: count, hint: position }),
  z.object({
    ...envelope,
    type: z.literal('heartbeat'),
    commit: count,
    round: count,
    members: members.nullable(),
  }),
  z.object({ ...envelope, type: z.literal('heartbeatAnswer'), round: count }),
  z.object({ ...envelope, type: z.literal('offer'), index: count }),
  z.object({ ...envelope, type: z.literal('offerAnswer'), index: count }),
  z.object({ ...envelope, type: z.literal('newerTerm') }),
  z.object({ ...envelope, type: z.literal('timeoutNow') }),
  z.object({ ...envelope, type: z.literal('readIndex'), context: count }),
  z.object({ ...envelope, type: z.literal('readIndexAnswer'), context: count, index: count }),
])

/** What MDMs tell each other, on connections of either's making. */
export const peerNotices = {
  raft: z.object({ messages: z.array(raftMessage).max(4096) }),
} as const
export type PeerNotices = { [N in keyof typeof peerNotices]: z.infer<(typeof peerNotices)[N]> }

/** What the MDM that opened a connection asks of the other one. */
export const peerRequests = {
  /** The MDM stands by for this system from now on. Refused with another system's data, or of another kind. */
  attach: z.object({ systemId: hexId, id: hexId, kind: mdmKind }),
  /** It leaves the system and forgets everything. */
  detach: z.object({ id: hexId }),
  /** Twice a second: how far it is. */
  peerStatus: z.object({}),
  /** The master has other effects of the log up to `index`: the MDM applies nothing more, and does not lead. */
  diverged: z.object({ index: count, digest: z.string().max(128) }),
  /** A piece of a snapshot, in order; offset 0 begins anew. */
  snapshotPiece: z.object({
    head: z.object({ index: count, term, members }),
    offset: count,
    total: count,
    bytes,
  }),
} as const
export type PeerRequests = { [N in keyof typeof peerRequests]: z.infer<(typeof peerRequests)[N]> }
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
