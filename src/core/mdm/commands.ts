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
} from '../../base/ids.js'
import type {
  ClusterMode,
  Endpoint,
  IoPolicy,
  LimitPolicy,
  Mapping,
  Mdm,
  MdmKind,
  SliceRecord,
  Volume,
} from '../../model/index.js'
import type { OpenedDevice } from '../../wire/control.js'
import type { JoinedCopy, PoolChanges, Settlement } from '../slices/index.js'
import type { Configuration } from './configuration.js'

/** Why the MDM changes slices. */
export type SliceReason =
  | 'copies lost'
  | 'copies returned'
  | 'rebuild'
  | 'rebalance'
  | 'roles swapped'
  | 'roles handed over'
  | 'primary out of reach'
  | 'fill abandoned'

/** A pool's new slice table: the planner's result, only checked when it is applied. `null`: it can have none. */
export interface PoolPlan {
  slices: SliceRecord[] | null
}

/** What becomes of a pool whose devices knew more: every epoch above all that they had seen. */
export interface AcceptedPool {
  poolId: PoolId
  epochsFrom: number
  /** null: it has none. */
  slices: SliceRecord[] | null
}

/** Written to thin volumes of the pool, counted once: what the SDSs reported when the command was made. */
interface ThinAllocated {
  thinAllocatedBytes: number
}

/**
 * Everything that can change the system, in ids: names are resolved before. A command holds all that its outcome
 * depends on beside the state: no clock, no chance, nothing that only one MDM knows.
 */
export interface Commands {
  createSystem: { systemId: SystemId; name: string }
  /** Into a system without objects. Everything stands still afterwards, until `acceptConfiguration`. */
  importConfiguration: { configuration: Configuration; era: string }
  /** An SDS knows more than this configuration: everything stands still. `sds` and `detail` are for people. */
  suspectConfiguration: { era: string; sds: string; detail: string }
  /** Goes on. `pools`: the slice tables and epochs that what the SDSs know demands; the others stay as they are. */
  acceptConfiguration: { numbersFrom: number; pools: AcceptedPool[] }

  /** The MDM that has created the system, and leads it alone. */
  firstMdm: { id: MdmId; name: string; endpoint: Endpoint }
  /** `inPlaceOf`: a member that is lost, at whose address the new one waits on an empty disk. */
  addMdm: Pick<Mdm, 'name' | 'endpoint'> & { mdmKind: MdmKind; inPlaceOf: MdmId | null }
  /** It has taken on its id, durably: an MDM that is found without any from now on has lost its disk. */
  mdmAttached: { id: MdmId }
  removeMdm: { id: MdmId }
  renameMdm: { id: MdmId; name: string }
  /** It listens somewhere else now. */
  moveMdm: { id: MdmId; endpoint: Endpoint }
  /** Who is to become a member, and who is not to be one any more: see core/mdm/deciders/mdms. */
  changeCluster: { mode: ClusterMode | null; add: MdmId[]; remove: MdmId[] }

  addProtectionDomain: { name: string }
  renameProtectionDomain: { id: ProtectionDomainId; name: string }
  removeProtectionDomain: { id: ProtectionDomainId }

  addFaultSet: { protectionDomainId: ProtectionDomainId; name: string }
  renameFaultSet: { id: FaultSetId; name: string }
  removeFaultSet: { id: FaultSetId }

  addPool: {
    protectionDomainId: ProtectionDomainId
    name: string
    zeroPadding: boolean
    sparePercent: number | null
    sliceCount: number
  }
  renamePool: { id: PoolId; name: string }
  removePool: { id: PoolId }
  setZeroPadding: { id: PoolId; zeroPadding: boolean }
  setSparePercent: { id: PoolId; sparePercent: number | null } & ThinAllocated
  setLimitPolicy: { id: PoolId; policy: LimitPolicy | null }
  /** null: the default. */
  setRebuildPolicy: { id: PoolId; policy: IoPolicy | null }
  setRebalancePolicy: { id: PoolId; policy: IoPolicy | null }
  setGracePeriod: { id: PoolId; gracePeriodMs: number | null }
  /** What there is to copy in all, so that the next MDM goes on counting from there. */
  noteFills: { id: PoolId; rebuildBytesTotal: number; rebalanceBytesTotal: number }

  addSds: {
    protectionDomainId: ProtectionDomainId
    faultSetId: FaultSetId | null
    name: string
    endpoint: Endpoint
    guid: string
  }
  renameSds: { id: SdsId; name: string }
  /** With devices: they are drained first, and this is asked once more when the last of them is gone. */
  removeSds: { id: SdsId; thinAllocated: [PoolId, number][] }
  /** A process of an SDS that was not registered before; carries what its return does to slices. */
  registerSds: {
    id: SdsId
    processId: string
    endpoint: Endpoint
    devices: OpenedDevice[]
    settlement: Settlement
  }
  /** Slices that waited and can be decided: a connection came back, or the grace period is over. */
  settle: { settlement: Settlement }
  /** On the MDM's own initiative; `why` is for people. `failed`: devices that have failed, in the same entry. */
  changeSlices: { why: SliceReason; slices: PoolChanges; failed: DeviceId[] }
  /** `slices`: the records without its copies; refused where they do not cover all of them. */
  enterMaintenance: { id: SdsId; slices: PoolChanges }
  exitMaintenance: { id: SdsId }
  copiesJoined: { sdsId: SdsId; incarnation: number; poolId: PoolId; slices: JoinedCopy[] }

  /** `name` null: the MDM makes one. */
  addDevice: { sdsId: SdsId; poolId: PoolId; path: string; name: string | null }
  /** The SDS has initialised a pending device. `plan` is absent while the pool's volumes keep the table as it is. */
  deviceReady: { id: DeviceId; capacityBytes: number; path: string; plan: PoolPlan | null }
  /** A failed device that no slice names: nobody waits for what it holds any more. */
  abandonDevice: { id: DeviceId }
  /** It works again. Either it was made anew after `abandonDevice`, or its SDS has opened it since it failed. */
  deviceCleared: { id: DeviceId; capacityBytes: number; path: string }
  /** `plan`: as in `deviceReady`. */
  deviceGrown: { id: DeviceId; capacityBytes: number; plan: PoolPlan | null }
  renameDevice: { id: DeviceId; name: string }
  /** One that holds copies of volumes is drained first; `plan` is for a pool without volumes. */
  removeDevice: { id: DeviceId; plan: PoolPlan | null } & ThinAllocated

  /** `plan`: for the pool's first volume, where a ready device holds no copies yet. */
  addVolume: {
    poolId: PoolId
    name: string
    sizeBytes: number
    type: Volume['type']
    plan: PoolPlan | null
  } & ThinAllocated
  renameVolume: { id: VolumeId; name: string }
  growVolume: { id: VolumeId; sizeBytes: number } & ThinAllocated
  removeVolume: { id: VolumeId }

  registerSdc: { guid: string; processId: string; name: string }
  renameSdc: { id: SdcId; name: string }
  removeSdc: { id: SdcId }

  mapVolume: {
    volumeId: VolumeId
    sdcId: SdcId
    accessMode: Mapping['accessMode']
    allowMultipleMappings: boolean
    iopsLimit: number | null
    bandwidthLimitKbPerSec: number | null
  }
  /** `sdcId` null: from all. */
  unmapVolume: { volumeId: VolumeId; sdcId: SdcId | null }
  /** A limit left out keeps its value. */
  setMappingLimits: {
    volumeId: VolumeId
    sdcId: SdcId
    iopsLimit?: number | null | undefined
    bandwidthLimitKbPerSec?: number | null | undefined
  }
}
export type CommandKind = keyof Commands
export type Command = { [K in CommandKind]: { kind: K } & Commands[K] }[CommandKind]

/** What a command answers; those not named here answer nothing. */
export interface CommandAnswers {
  addMdm: { id: MdmId }
  addProtectionDomain: { id: ProtectionDomainId }
  addFaultSet: { id: FaultSetId }
  addPool: { id: PoolId }
  addSds: { id: SdsId }
  registerSds: { sdsId: SdsId; incarnation: number }
  /** False: it goes by itself when it holds nothing any more. */
  removeSds: { removed: boolean }
  removeDevice: { removed: boolean }
  copiesJoined: { joined: number }
  addDevice: { id: DeviceId }
  addVolume: { id: VolumeId; sizeBytes: number }
  registerSdc: { sdcId: SdcId; incarnation: number }
  mapVolume: { id: MappingId }
  unmapVolume: { removed: Mapping[] }
}
export type CommandAnswer<K extends CommandKind> = K extends keyof CommandAnswers
  ? CommandAnswers[K]
  : Record<string, never>

/** A command as it stands in the log. A client's repetition of its last number is answered, not done, again. */
export interface LogEntry {
  client: string | null
  number: number
  command: Command
}
