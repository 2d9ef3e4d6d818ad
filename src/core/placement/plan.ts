import { assert } from '../../base/assert.js'
import type { SliceRecord } from '../../model/index.js'
import { checkSlices } from './check.js'
import type { PlacementDevice } from './device.js'
import { balancePrimaries } from './primaries.js'
import { copyTargets } from './shares.js'
import { nobody, SliceTable } from './table.js'

/**
 * Places both copies of every slice. Pure and deterministic. Never two copies in one fault unit; each device's copies in
 * proportion to its capacity, within one; partners spread over the other units; relative to `tableSoFar` it moves only
 * what the shares demand. A slice that changes gets the next epoch. Throws PLACEMENT where two copies cannot be placed.
 *
 * While copies hold data the result is a wish: every move is carried out by a joining copy.
 */
export function planSlices(
  devices: readonly PlacementDevice[],
  sliceCount: number,
  tableSoFar: readonly SliceRecord[] | null,
): SliceRecord[] {
  const sorted = [...devices].sort((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
  const table = new SliceTable(sorted, sliceCount, tableSoFar)
  const targets = copyTargets(sorted, table.unitOf, sliceCount, table.have)
  const need = targets.map((target, device) => target - table.have[device]!)
  release(table, targets, need)
  fillSingles(table, targets, need)
  fillPairs(table, targets, need)
  fillStuck(table, need)
  balancePrimaries(table, tableSoFar === null)
  const records = recordsOf(table, tableSoFar)
  checkSlices(sorted, sliceCount, records)
  return records
}

/** Takes from every device what it has above its target, from the partners that it shares most with. */
function release(table: SliceTable, targets: Int32Array, need: Int32Array): void {
  if (need.every(count => count >= 0)) return
  const wanted = new Int32Array(table.unitCount)
  let wantedInAll = 0
  need.forEach((count, device) => {
    if (count <= 0) return
    wanted[table.unitOf[device]!]! += count
    wantedInAll += count
  })
  const byPartner = slicesByPartner(table, need)
  for (let device = 0; device < need.length; device++) {
    const lists = byPartner.get(device)
    while (need[device]! < 0) {
      assert(lists, 'what a device has too much of stands in its lists')
      const slice = nextToRelease(table, targets, lists, device, unit => wanted[unit]! < wantedInAll)
      table.take(slice, device)
      need[device]! += 1
    }
  }
}

/** For each device with too many copies: its slices, by the fault unit of their other copy. */
function slicesByPartner(table: SliceTable, need: Int32Array): Map<number, Map<number, number[]>> {
  const byPartner = new Map<number, Map<number, number[]>>()
  const note = (slice: number, device: number): void => {
    if (device === nobody || need[device]! >= 0) return
    const other = table.other(slice, device)
    const unit = other === nobody ? nobody : table.unitOf[other]!
    const lists = byPartner.get(device) ?? new Map<number, number[]>()
    pushTo(lists, unit, slice)
    byPartner.set(device, lists)
  }
  for (let slice = 0; slice < table.sliceCount; slice++) {
    note(slice, table.first[slice]!)
    note(slice, table.second[slice]!)
  }
  return byPartner
}

function nextToRelease(
  table: SliceTable,
  targets: Int32Array,
  lists: Map<number, number[]>,
  device: number,
  wantedElsewhere: (unit: number) => boolean,
): number {
  let best: number[] | null = null
  let bestScore = 0
  for (const [unit, list] of lists) {
    if (unit === nobody) continue
    // A slice that has lost its other copy by now should keep this one: it goes to the end of the queue.
    while (list.length > 0 && table.holes(list.at(-1)!) > 0) pushTo(lists, nobody, list.pop()!)
    if (list.length === 0) continue
    const score = (table.pairsOf(device, unit) + 1) / (1 + targets[device]!) + (wantedElsewhere(unit) ? 2 : 0)
    if (best !== null && score <= bestScore) continue
    best = list
    bestScore = score
  }
  return (best ?? lists.get(nobody)!).pop()!
}

function pushTo(lists: Map<number, number[]>, unit: number, slice: number): void {
  const list = lists.get(unit) ?? []
  list.push(slice)
  lists.set(unit, list)
}

/** Slices that lack one copy: from the devices with room, whoever shares least with the copy that is there. */
function fillSingles(table: SliceTable, targets: Int32Array, need: Int32Array): void {
  let open = openDevices(need)
  for (const slice of spreadOrder(table.sliceCount)) {
    if (table.holes(slice) !== 1) continue
    const unit = table.unitOf[table.only(slice)]!
    let best = nobody
    let bestScore = 0
    for (const device of open) {
      if (need[device] === 0 || table.unitOf[device] === unit) continue
      const score = need[device]! / targets[device]! - table.pairsOf(device, unit) / targets[device]!
      if (best === nobody || score > bestScore) {
        best = device
        bestScore = score
      }
    }
    if (best === nobody) continue
    table.put(slice, best)
    need[best]! -= 1
    if (need[best] === 0) open = openDevices(need)
  }
}

/** Slices that lack both: unit by unit, the one that still needs most first, with the partner that it shares least with. */
function fillPairs(table: SliceTable, targets: Int32Array, need: Int32Array): void {
  const empty = spreadOrder(table.sliceCount).filter(slice => table.holes(slice) === 2)
  if (empty.length === 0) return
  const members = Array.from({ length: table.unitCount }, (): number[] => [])
  const room = new Int32Array(table.unitCount)
  const weight = new Float64Array(table.unitCount)
  table.unitOf.forEach((unit, device) => {
    members[unit]!.push(device)
    room[unit]! += need[device]!
    weight[unit]! += targets[device]!
  })
  const between = new Int32Array(table.unitCount * table.unitCount)
  empty.forEach((slice, index) => {
    const unit = largest(room, room)
    const partner = partnerUnit(unit, room, weight, between, table.unitCount, empty.length - index)
    if (unit === nobody || partner === nobody) return
    const one = leastShared(table, targets, need, members[unit]!, partner)
    const two = leastShared(table, targets, need, members[partner]!, unit)
    table.put(slice, one)
    table.put(slice, two)
    for (const device of [one, two]) need[device]! -= 1
    for (const at of [unit, partner]) room[at]! -= 1
    between[unit * table.unitCount + partner]! += 1
    between[partner * table.unitCount + unit]! += 1
  })
}

function largest(values: Int32Array, room: Int32Array): number {
  let best = nobody
  for (let unit = 0; unit < values.length; unit++)
    if (room[unit]! > 0 && (best === nobody || values[unit]! > values[best]!)) best = unit
  return best
}

function partnerUnit(
  unit: number,
  room: Int32Array,
  weight: Float64Array,
  between: Int32Array,
  unitCount: number,
  slicesLeft: number,
): number {
  let best = nobody
  let bestScore = 0
  for (let other = 0; other < unitCount; other++) {
    if (other === unit || room[other] === 0) continue
    // A unit that needs a copy of every slice that is left can wait no longer.
    if (room[other]! >= slicesLeft) return other
    const score = (between[unit * unitCount + other]! + 1) / weight[other]! - room[other]! / weight[other]! / 1e6
    if (best === nobody || score < bestScore) {
      best = other
      bestScore = score
    }
  }
  return best
}

function leastShared(
  table: SliceTable,
  targets: Int32Array,
  need: Int32Array,
  members: readonly number[],
  partner: number,
): number {
  let best = nobody
  let bestScore = 0
  for (const device of members) {
    if (need[device] === 0) continue
    const score = (table.pairsOf(device, partner) + 1 - need[device]! / 1e6) / targets[device]!
    if (best === nobody || score < bestScore) {
      best = device
      bestScore = score
    }
  }
  return best
}

/**
 * What is left needs a device whose unit the slice holds already: another slice, which does not, gives one of its
 * copies for it. There always is one, since no unit's target is more than one copy of every slice.
 */
function fillStuck(table: SliceTable, need: Int32Array): void {
  let donor = 0
  for (let slice = 0; slice < table.sliceCount; slice++) {
    while (table.holes(slice) > 0) {
      const device = openDevices(need).find(index => !table.holds(slice, table.unitOf[index]!))
      if (device !== undefined) {
        table.put(slice, device)
        need[device]! -= 1
        continue
      }
      const want = openDevices(need)[0]
      assert(want !== undefined, 'holes and needs are equally many')
      const unit = table.unitOf[want]!
      for (let seen = 0; table.holes(donor) > 0 || table.holds(donor, unit); seen++) {
        assert(seen <= table.sliceCount, 'some slice has no copy in a unit that lacks copies')
        donor = (donor + 1) % table.sliceCount
      }
      const given = table.second[donor]!
      table.take(donor, given)
      table.put(donor, want)
      table.put(slice, given)
      need[want]! -= 1
    }
  }
}

const openDevices = (need: Int32Array): number[] => {
  const open: number[] = []
  for (let device = 0; device < need.length; device++) if (need[device]! > 0) open.push(device)
  return open
}

/** All slices, neighbours far apart, so that a volume's sequential chunks do not stay on the same few devices. */
function spreadOrder(sliceCount: number): number[] {
  const step = Math.floor(sliceCount * 0.618) | 1
  const order: number[] = []
  if (sliceCount % 2 === 1 && sliceCount > 1) return Array.from({ length: sliceCount }, (_, slice) => slice)
  for (let index = 0, slice = 0; index < sliceCount; index++, slice = (slice + step) % sliceCount) order.push(slice)
  return order
}

function recordsOf(table: SliceTable, tableSoFar: readonly SliceRecord[] | null): SliceRecord[] {
  const records: SliceRecord[] = []
  for (let slice = 0; slice < table.sliceCount; slice++) {
    const primary = table.devices[table.first[slice]!]!.deviceId
    const secondary = table.devices[table.second[slice]!]!.deviceId
    const old = tableSoFar?.[slice]
    if (old && old.primary === primary && (old.secondary ?? old.joining ?? old.left) === secondary) records.push(old)
    else
      records.push({
        slice,
        epoch: (old?.epoch ?? 0) + 1,
        primary,
        secondary,
        joining: null,
        left: null,
        lossEpoch: old?.lossEpoch ?? 0,
      })
  }
  return records
}
