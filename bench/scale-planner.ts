/**
 * Planner and map code as the numbers of SDSs and slices grow, to 1,000 SDSs and 65,536 slices: no I/O, one process. Prints a
 * line of JSON and a row for each size; times are CPU time. `node dist/bench/scale-planner.js`
 */
import type { DeviceId, PoolId, SdsId } from '../src/base/ids.js'
import { GiB } from '../src/base/units.js'
import { checkSlices, type PlacementDevice, planSlices } from '../src/core/placement/index.js'
import { lostRecords } from '../src/core/slices/index.js'
import { applyDelta, emptyMap, type MapDelta, type SliceRecord } from '../src/model/index.js'
import { decode, encode } from '../src/wire/codec.js'
import { liveBytes, printRows, type Row, rounded, timed } from './scale/measure.js'

const shapes = [
  { sdss: 10, slices: 1_024 },
  { sdss: 10, slices: 8_192 },
  { sdss: 10, slices: 65_536 },
  { sdss: 100, slices: 8_192 },
  { sdss: 100, slices: 65_536 },
  { sdss: 300, slices: 65_536 },
  { sdss: 1_000, slices: 8_192 },
  { sdss: 1_000, slices: 65_536 },
]
const poolId = 'aaaaaaaa00000001' as PoolId

const idOf = (number: number) => `aaaaaaaa${number.toString(16).padStart(8, '0')}`
const device = (index: number): PlacementDevice => ({
  deviceId: idOf(100_000 + index) as DeviceId,
  sdsId: idOf(10 + index) as SdsId,
  faultUnit: idOf(10 + index),
  capacityBytes: 1024 * GiB,
})

// The first calls of a program are those that compile it.
for (let round = 0; round < 3; round++)
  planSlices(
    Array.from({ length: 10 }, (_, index) => device(index)),
    8_192,
    null,
  )

printRows('scale-planner', shapes.map(measure))

function measure({ sdss, slices }: (typeof shapes)[number]): Row {
  const devices = Array.from({ length: sdss }, (_, index) => device(index))
  const [table, planMs] = timed(() => planSlices(devices, slices, null))
  const [added, addMs] = timed(() => planSlices([...devices, device(sdss)], slices, table))
  const [removed, removeMs] = timed(() => planSlices(devices.slice(1), slices, table))
  const [, checkMs] = timed(() => checkSlices(devices, slices, table))
  const whole: MapDelta = { version: 1, changes: [{ kind: 'slices', poolId, slices: table }] }
  const [bytes, encodeMs] = timed(() => encode(whole))
  const [, decodeMs] = timed(() => void decode(bytes))
  const before = liveBytes()
  const map = emptyMap()
  const kept = decode(bytes) as MapDelta
  applyDelta(map, kept)
  const tableBytes = liveBytes() - before
  const [, lossMs] = timed(() => lossOf(map, devices[0]!.deviceId))
  return {
    sdss,
    slices,
    planMs: rounded(planMs),
    addMs: rounded(addMs),
    moved: movedTo(table, added),
    removeMs: rounded(removeMs),
    movedOff: movedTo(table, removed),
    checkMs: rounded(checkMs),
    lossMs: rounded(lossMs),
    wholeKb: Math.round(bytes.length / 1024),
    encodeMs: rounded(encodeMs),
    decodeMs: rounded(decodeMs),
    bytesPerSlice: Math.round(tableBytes / slices),
  }
}

/** What the MDM decides when an SDS is lost: every slice of its devices. */
function lossOf(map: ReturnType<typeof emptyMap>, lost: DeviceId) {
  return lostRecords({
    map,
    epochHigh: new Map([[poolId, 1]]),
    isLost: id => id === lost,
    leavesBeside: () => false,
    canGoOn: () => true,
    isUnsound: () => false,
    keepsMarks: () => true,
  })
}

/** Copies that stand on another device than before. */
function movedTo(before: readonly SliceRecord[], after: readonly SliceRecord[]): number {
  let moved = 0
  for (const { slice, primary, secondary } of after) {
    const old = new Set([before[slice]!.primary, before[slice]!.secondary])
    for (const id of [primary, secondary]) if (!old.has(id)) moved++
  }
  return moved
}
