import { type DeviceId, numberOfId, type PoolId } from '../../base/ids.js'
import { type ClusterMap, type Device, faultUnitOf, type SliceRecord, type System } from '../../model/index.js'
import type { OpenedDevice } from '../../wire/control.js'
import type { AcceptedPool, Commands } from './commands.js'
import type { MdmState } from './state.js'

/** The last record of a slice that a device has adopted; `inSync`: it was primary or secondary in it. */
export interface KnownCopy {
  pool: number
  slice: number
  epoch: number
  inSync: boolean
}

/** What a device says of what it has lived through. */
export interface DeviceEvidence {
  deviceId: DeviceId
  copies: KnownCopy[]
  /** Numbers of the volumes that it has chunks of. */
  volumes: number[]
}

/** What is given up by going on, for people. */
export interface Voided {
  /** Devices that may know more, and have not said it. */
  unheard: DeviceId[]
  /** Slices that go on from another copy than this configuration's primary. */
  slicesMoved: number
  /** Copies that are not known to be up to date any more, and are filled again. */
  copiesDropped: number
  /** Slices that go on from a copy of which nobody can say whether it is the newest: what it lacks is lost. */
  slicesUnproven: number
  /** Volumes that devices hold and this configuration does not know: their chunks are dropped. */
  volumes: number[]
}

/** Why a device, opened by its own SDS, must have lived under a newer configuration than this; null: it need not. */
export function newerThan(state: MdmState, opened: OpenedDevice): string | null {
  const device = state.map.tables.devices.get(opened.deviceId)
  if (!device) return null
  const known = state.epochHigh.get(device.poolId) ?? 0
  if (opened.epochMax > known) return `it knows epoch ${opened.epochMax}, the MDM ${known}`
  const { volumeMax = 0 } = opened
  const recovery = systemOf(state)?.recovery
  const unknownFrom = recovery?.unknownFrom ?? state.nextNumber
  if (volumeMax < unknownFrom) return null
  return `it holds volume number ${volumeMax}, the MDM has given out numbers below ${unknownFrom} only`
}

/** Devices whose word is needed before the configuration can be known to be the newest. */
export const devicesToHear = (map: ClusterMap): Device[] =>
  [...map.tables.devices.values()].filter(({ state }) => state === 'ready' || state === 'removing')

/**
 * How to go on with an older configuration, from what the devices know: per slice, the copies that were in sync in the
 * newest record that anybody has adopted stay in sync, all others are filled again, and every epoch goes above all that
 * were seen. Pools of which no device knows more stay as they are, if all of their devices were heard.
 */
export function planAcceptance(
  state: MdmState,
  evidence: readonly DeviceEvidence[],
): { command: Commands['acceptConfiguration']; voided: Voided } {
  const { map } = state
  const known = evidence.filter(({ deviceId }) => map.tables.devices.has(deviceId))
  const heard = new Set(known.map(({ deviceId }) => deviceId))
  const unheard = devicesToHear(map).filter(({ id }) => !heard.has(id))
  const volumeNumbers = new Set([...map.tables.volumes.values()].map(({ id }) => numberOfId(id)))
  const volumesHeld = new Set(known.flatMap(({ volumes }) => volumes))
  const voided: Voided = {
    unheard: unheard.map(({ id }) => id),
    slicesMoved: 0,
    copiesDropped: 0,
    slicesUnproven: 0,
    volumes: [...volumesHeld].filter(number => !volumeNumbers.has(number)).sort((a, b) => a - b),
  }
  const pools: AcceptedPool[] = []
  for (const poolId of map.tables.pools.keys() as Iterable<PoolId>) {
    const copies = copiesByState(state, known, poolId)
    const epochHigh = state.epochHigh.get(poolId) ?? 0
    const epochSeen = copies.reduce((max, { epoch }) => Math.max(max, epoch), epochHigh)
    const isWhole = !unheard.some(device => device.poolId === poolId)
    if (epochSeen === epochHigh && isWhole) continue
    const epochsFrom = epochSeen + 1
    const table = map.slices.get(poolId)
    if (!table) {
      pools.push({ poolId, epochsFrom, slices: null })
      continue
    }
    const held = table.map((): HeldCopy[] => [])
    for (const copy of copies) held[copy.slice]?.push(copy)
    const slices = table.map(record =>
      acceptedRecord(map, record, held[record.slice]!, { heard, epochsFrom, isWhole, voided }),
    )
    pools.push({ poolId, epochsFrom, slices })
  }
  return { command: { numbersFrom: Math.max(0, ...volumesHeld) + 1, pools }, voided }
}

type HeldCopy = KnownCopy & { deviceId: DeviceId }

/** What the devices that may hold copies of a pool have adopted of it. */
function copiesByState(state: MdmState, evidence: readonly DeviceEvidence[], poolId: PoolId): HeldCopy[] {
  const number = numberOfId(poolId)
  return evidence.flatMap(({ deviceId, copies }) =>
    state.map.tables.devices.get(deviceId)!.poolId === poolId
      ? copies.filter(({ pool }) => pool === number).map(copy => ({ ...copy, deviceId }))
      : [],
  )
}

interface Circumstances {
  heard: ReadonlySet<DeviceId>
  epochsFrom: number
  /** All devices of the pool were heard. */
  isWhole: boolean
  voided: Voided
}

function acceptedRecord(
  map: ClusterMap,
  record: SliceRecord,
  held: readonly HeldCopy[],
  { heard, epochsFrom: epoch, isWhole, voided }: Circumstances,
): SliceRecord {
  const epochTop = held.reduce((max, copy) => Math.max(max, copy.epoch), 0)
  const hasMovedOn = epochTop > record.epoch
  // Of a record that nobody knows to be followed by another one, the copies in sync are those that it names.
  const named = [record.primary, record.secondary].filter((id): id is DeviceId => id !== null)
  const newest = hasMovedOn
    ? held.filter(copy => copy.epoch === epochTop && copy.inSync).map(({ deviceId }) => deviceId)
    : named.filter(id => heard.has(id))
  const usable = newest.filter(id => mayHold(map, id))
  // Whoever goes on without a copy in sync is one of those that remain: where all of them are here, there was no such record.
  const isOnly = !hasMovedOn && record.secondary === null && usable.length === 1
  const isProven = usable.length >= 2 || isOnly || (isWhole && usable.length === 1)
  const [primary, ...others] = usable.length > 0 ? inOrder(usable, record) : [lastResort(map, record, held)]
  const secondary = others.find(id => faultUnitOf(map, id) !== faultUnitOf(map, primary!)) ?? null
  if (!isProven) voided.slicesUnproven++
  if (primary !== record.primary) voided.slicesMoved++
  voided.copiesDropped += named.filter(id => id !== primary && id !== secondary).length
  return {
    slice: record.slice,
    epoch,
    primary: primary!,
    secondary,
    joining: null,
    left: null,
    // What was lost under records that nobody here knows, nobody here knows either: FLUSH must not lie.
    lossEpoch: hasMovedOn || !isProven ? epoch : record.lossEpoch,
  }
}

function mayHold(map: ClusterMap, id: DeviceId): boolean {
  const state = map.tables.devices.get(id)?.state
  return state === 'ready' || state === 'removing'
}

/** The configuration's own primary and secondary first. */
const inOrder = (ids: readonly DeviceId[], { primary, secondary }: SliceRecord): DeviceId[] => {
  const rank = (id: DeviceId) => (id === primary ? 0 : id === secondary ? 1 : 2)
  return [...ids].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))
}

/** Nobody is known to be in sync: whoever has lived longest with the slice, else the configuration's own primary. */
function lastResort(map: ClusterMap, record: SliceRecord, held: readonly HeldCopy[]): DeviceId {
  const best = held
    .filter(({ deviceId, inSync }) => inSync && mayHold(map, deviceId))
    .sort((a, b) => b.epoch - a.epoch || (a.deviceId < b.deviceId ? -1 : 1))
  return best[0]?.deviceId ?? record.primary
}

const systemOf = ({ map }: MdmState): System | undefined => map.tables.systems.values().next().value
