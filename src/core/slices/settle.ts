import type { DeviceId, PoolId, SdsId } from '../../base/ids.js'
import { mutate } from '../../base/mutation.js'
import { type ClusterMap, copiesOf, type Device, devicesOfSds, type SliceRecord } from '../../model/index.js'
import type { OpenedDevice } from '../../wire/control.js'
import { type Standing, settleSlice } from './settle-slice.js'

/** A record for a slice, and the epoch that it replaces: void if that has moved on. */
export interface SliceChange {
  replaces: number
  record: SliceRecord
}

/** What a return does: committed as it is, in the entry of the registration that caused it. */
export interface Settlement {
  slices: { poolId: PoolId; changes: SliceChange[] }[]
  /** The devices whose list of waiting slices becomes another one; null: none waits any more. */
  waiting: { deviceId: DeviceId; waiting: NonNullable<Device['waiting']> | null }[]
}

export interface ReturnFacts {
  map: ClusterMap
  /** The highest epoch of any slice of a pool so far: no device has adopted a higher one. */
  epochHigh: ReadonlyMap<PoolId, number>
  /** Devices that a process of an SDS has newly opened; empty where it only reconnected or time went by. */
  returned: readonly OpenedDevice[]
  /** True where the device's SDS is connected and has the device. */
  isPresent: (deviceId: DeviceId) => boolean
  /** True once the device has waited for its better half as long as the grace period. */
  isGraceOver: (deviceId: DeviceId) => boolean
  /** True where the device's SDS is silent and its partners cannot reach it; absent: nobody is convicted. */
  isConvicted?: (deviceId: DeviceId) => boolean
}

/** Decides every slice that has a copy on a returned or a waiting device. Pure; see `settleSlice` for the cases. */
export function settle(facts: ReturnFacts): Settlement {
  const { map } = facts
  const returned = new Map(facts.returned.map(device => [device.deviceId as DeviceId, device]))
  const waiting = new Map<DeviceId, Set<number>>()
  for (const device of map.tables.devices.values())
    if (device.waiting) waiting.set(device.id, new Set(device.waiting.slices))
  const settlement: Settlement = { slices: [], waiting: [] }
  const waits = new Map<DeviceId, number[]>()

  for (const [poolId, records] of map.slices) {
    const changes: SliceChange[] = []
    for (const record of records) {
      const copies = copiesOf(record)
      if (!copies.some(id => returned.has(id) || waiting.get(id)?.has(record.slice))) continue
      const floor = facts.epochHigh.get(poolId) ?? 0
      const standingOf = (id: DeviceId) => standing(facts, returned, waiting, id, record.slice)
      const outcome = settleSlice(record, standingOf, floor)
      if (outcome.kind === 'change') changes.push({ replaces: record.epoch, record: outcome.record })
      // A void role that a copy keeps while it is away stays void: nothing has decided about it, not even a change, such
      // as one that only lets the copy that joins beside it start over.
      const { primary, secondary } = outcome.kind === 'change' ? outcome.record : record
      const isUndecided = (id: DeviceId) => waiting.get(id)?.has(record.slice) && standingOf(id).kind === 'away'
      const undecided = new Set(outcome.kind === 'wait' ? outcome.unclean : [])
      if (!mutate('forget-a-void-role-while-its-copy-is-away'))
        for (const id of [primary, secondary]) if (id !== null && isUndecided(id)) undecided.add(id)
      for (const id of undecided) {
        const slices = waits.get(id)
        if (slices) slices.push(record.slice)
        else waits.set(id, [record.slice])
      }
    }
    if (changes.length > 0) settlement.slices.push({ poolId, changes })
  }

  for (const deviceId of new Set([...waiting.keys(), ...waits.keys()])) {
    const slices = waits.get(deviceId) ?? []
    const before = map.tables.devices.get(deviceId)?.waiting ?? null
    const report = returned.get(deviceId)
    const sameBoot = (before?.sameBoot ?? true) && (report ? keptAll(report) : true)
    if (before && before.sameBoot === sameBoot && sameList(before.slices, slices)) continue
    settlement.waiting.push({ deviceId, waiting: slices.length > 0 ? { slices, sameBoot } : null })
  }
  return settlement
}

function standing(
  facts: ReturnFacts,
  returned: ReadonlyMap<DeviceId, OpenedDevice>,
  waiting: ReadonlyMap<DeviceId, ReadonlySet<number>>,
  deviceId: DeviceId,
  slice: number,
): Standing {
  const report = returned.get(deviceId)
  // A copy whose role was void stays so, however cleanly the process that was waiting has stopped since.
  const waited = waiting.get(deviceId)?.has(slice) ?? false
  const resumes = report?.sameBoot && mutate('resume-after-SIGKILL-in-the-same-epoch')
  if ((report?.cleanStop || resumes) && !waited) return { kind: 'restarted' }
  if (!report && !facts.isPresent(deviceId)) return { kind: 'away', convicted: facts.isConvicted?.(deviceId) ?? false }
  if (!report && !waited) return { kind: 'up' }
  const sameBoot =
    (report ? keptAll(report) : true) && (!waited || facts.map.tables.devices.get(deviceId)!.waiting!.sameBoot)
  return { kind: 'unclean', sameBoot, graceOver: facts.isGraceOver(deviceId) }
}

/** A clean reboot is not a loss. */
const keptAll = (report: OpenedDevice): boolean => report.cleanStop || report.sameBoot

const sameList = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((value, index) => value === b[index])

/** Devices of the map that did not come back with their SDS: their slices wait, people are told. */
export function missingDevices(map: ClusterMap, sdsId: SdsId, reported: readonly OpenedDevice[]): Device[] {
  const found = new Set(reported.map(device => device.deviceId))
  return devicesOfSds(map, sdsId).filter(
    ({ state, id }) => (state === 'ready' || state === 'removing') && !found.has(id),
  )
}
