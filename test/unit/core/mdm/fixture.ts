import type {
  DeviceId,
  PoolId,
  ProtectionDomainId,
  SdcId,
  SdsId,
  SystemId,
  VolumeId,
} from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import {
  apply,
  buildAddVolume,
  buildDeviceReady,
  buildRemoveDevice,
  type Command,
  type CommandAnswer,
  type CommandKind,
  type Commands,
  digest,
  emptyState,
  type LogEntry,
  type MdmState,
} from '../../../../src/core/mdm/index.js'
import { type Settlement, settle } from '../../../../src/core/slices/index.js'
import type { MapChange, SliceRecord } from '../../../../src/model/index.js'
import type { OpenedDevice, WireError } from '../../../../src/wire/control.js'

export const noSettlement: Settlement = { slices: [], waiting: [] }

/** A state machine with its log. */
export class Machine {
  readonly state: MdmState = emptyState()
  readonly log: LogEntry[] = []
  lastChanges: MapChange[] = []

  /** Applies a command as the next entry; the answer, or the error as a value. */
  try<K extends CommandKind>(kind: K, fields: Commands[K]): CommandAnswer<K> | { error: WireError } {
    return this.tryAs(null, 0, kind, fields)
  }

  tryAs<K extends CommandKind>(client: string | null, number: number, kind: K, fields: Commands[K]) {
    const entry: LogEntry = { client, number, command: { kind, ...fields } as unknown as Command }
    this.log.push(entry)
    const { outcome, delta } = apply(this.state, this.log.length, entry)
    this.lastChanges = delta.changes
    return ('error' in outcome ? outcome : outcome.answer) as CommandAnswer<K> | { error: WireError }
  }

  /** The same; an error is thrown. */
  do<K extends CommandKind>(kind: K, fields: Commands[K]): CommandAnswer<K> {
    const answer = this.try(kind, fields)
    if (answer && typeof answer === 'object' && 'error' in answer) throw new Error(JSON.stringify(answer.error))
    return answer as CommandAnswer<K>
  }

  /** The error code and sentence parts of a refusal; throws if the command was taken or changed anything. */
  refused<K extends CommandKind>(kind: K, fields: Commands[K]): WireError {
    const before = digest(this.state)
    const answer = this.try(kind, fields)
    if (!answer || typeof answer !== 'object' || !('error' in answer)) throw new Error(`${kind} was not refused`)
    if (digest(this.state) !== before || this.lastChanges.length > 0) throw new Error(`${kind} changed something`)
    return answer.error
  }

  slices(poolId: PoolId): SliceRecord[] {
    return this.state.map.slices.get(poolId) ?? []
  }
}

export interface Cluster {
  machine: Machine
  domain: ProtectionDomainId
  pool: PoolId
  sdss: SdsId[]
  devices: DeviceId[]
}

/** One domain and pool, one fault set and SDS for each size, one device each. */
export function cluster(sizesBytes: number[], sliceCount = 64): Cluster {
  const machine = new Machine()
  machine.do('createSystem', { systemId: '0123456789abcdef' as SystemId, name: 'sys' })
  const { id: domain } = machine.do('addProtectionDomain', { name: 'pd1' })
  const pooled = { protectionDomainId: domain, name: 'pool1', zeroPadding: true, sparePercent: null, sliceCount }
  const { id: pool } = machine.do('addPool', pooled)
  const made: Cluster = { machine, domain, pool, sdss: [], devices: [] }
  sizesBytes.forEach((bytes, index) => {
    const sds = addSds(made, index)
    made.devices.push(addDevice(made, sds, bytes))
  })
  return made
}

/** With four SDSs of 16 GiB, each a fault unit of its own. */
export const four = (): Cluster => cluster([16, 16, 16, 16].map(gb => gb * GiB))

export function addSds({ machine, domain, sdss }: Cluster, index: number): SdsId {
  const { id: faultSetId } = machine.do('addFaultSet', { protectionDomainId: domain, name: `fs-${index}` })
  const endpoint = { host: 'h', port: 1000 + index }
  const fields = { protectionDomainId: domain, faultSetId, name: `sds-${index}`, endpoint, guid: `g${index}` }
  const { id } = machine.do('addSds', fields)
  sdss.push(id)
  machine.do('registerSds', { id, processId: `p${index}-1`, endpoint, devices: [], settlement: noSettlement })
  return id
}

let paths = 0
export function addDevice({ machine, pool }: Cluster, sdsId: SdsId, capacityBytes: number): DeviceId {
  const path = `/dev/${paths++}`
  const { id } = machine.do('addDevice', { sdsId, poolId: pool, path, name: null })
  machine.do('deviceReady', buildDeviceReady(machine.state, id, { capacityBytes, path }))
  return id
}

export function addVolume({ machine, pool }: Cluster, name: string, sizeGb: number, type: 'thin' | 'thick', thin = 0) {
  return machine.do('addVolume', volumeCommand({ machine, pool }, name, sizeGb, type, thin)).id
}

export const volumeCommand = (
  { machine, pool }: Pick<Cluster, 'machine' | 'pool'>,
  name: string,
  sizeGb: number,
  type: 'thin' | 'thick',
  thin = 0,
) => buildAddVolume(machine.state, { poolId: pool, name, sizeBytes: sizeGb * GiB, type }, thin)

export const removeDeviceCommand = ({ machine }: Cluster, id: DeviceId) => buildRemoveDevice(machine.state, id, 0)

export const addSdc = ({ machine }: Cluster, name: string): SdcId =>
  machine.do('registerSdc', { guid: `guid-${name}`, processId: 'p1', name }).sdcId

export const mapping = (volumeId: VolumeId, sdcId: SdcId): Commands['mapVolume'] => ({
  volumeId,
  sdcId,
  accessMode: 'ReadWrite',
  allowMultipleMappings: false,
  iopsLimit: null,
  bandwidthLimitKbPerSec: null,
})

export const opened = (deviceId: DeviceId, fields: Partial<OpenedDevice> = {}): OpenedDevice => ({
  deviceId,
  path: '/found',
  capacityBytes: 16 * GiB,
  cleanStop: true,
  sameBoot: true,
  epochMax: 0,
  ...fields,
})

/** A new process of SDS `index` registers; `present`: devices of other SDSs that are connected. */
export function registers(
  { machine, sdss, devices }: Cluster,
  index: number,
  processId: string,
  reports: OpenedDevice[],
  present: DeviceId[] = devices,
  graceOver = false,
) {
  const { map, epochHigh } = machine.state
  const settlement = settle({
    map,
    epochHigh,
    returned: reports,
    isPresent: id => present.includes(id) || reports.some(report => report.deviceId === id),
    isGraceOver: () => graceOver,
  })
  const endpoint = { host: 'h', port: 1000 + index }
  return machine.do('registerSds', { id: sdss[index]!, processId, endpoint, devices: reports, settlement })
}
