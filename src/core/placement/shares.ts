import { assert } from '../../base/assert.js'
import { StorageError } from '../../base/errors.js'
import { chunkBytes } from '../../base/units.js'
import type { PlacementDevice } from './device.js'

/** A device's exact share is `numerator / denominator` copies. */
interface Share {
  device: number
  floor: number
  remainder: number
  denominator: number
  have: number
}

/**
 * How many copies each device should hold: in proportion to capacity and within one of that ideal, for the devices and
 * for the sums of the fault units, while no unit holds more than `sliceCount` (it would have to hold both copies of
 * something). A unit with more than half of the capacity gets one copy of everything; the others share the rest.
 *
 * Where rounding leaves a choice, whoever has more now keeps it, so that a change elsewhere moves nothing here.
 */
export function copyTargets(
  devices: readonly PlacementDevice[],
  unitOf: Int32Array,
  sliceCount: number,
  have: Int32Array,
): Int32Array {
  const chunks = devices.map(device => Math.floor(device.capacityBytes / chunkBytes))
  const unitCount = unitOf.reduce((max, unit) => Math.max(max, unit + 1), 0)
  const unitChunks = new Array<number>(unitCount).fill(0)
  chunks.forEach((count, index) => {
    unitChunks[unitOf[index]!]! += count
  })
  const total = unitChunks.reduce((sum, count) => sum + count, 0)
  const used = unitChunks.filter(count => count > 0).length
  if (used < 2)
    throw new StorageError('PLACEMENT', {
      detail: 'two copies cannot be placed: the pool has ready devices in fewer than two fault units',
      faultUnits: used,
      remedy: 'add devices of SDSs in at least two fault sets (or two SDSs without one)',
    })
  assert(total * 2 * sliceCount <= Number.MAX_SAFE_INTEGER, 'shares are computed in whole numbers')

  const capped = unitChunks.findIndex(count => count * 2 > total)
  const targets = new Int32Array(devices.length)
  const groups = Array.from({ length: unitCount }, (): Share[] => [])
  chunks.forEach((count, index) => {
    const unit = unitOf[index]!
    const copies = capped === -1 ? 2 * sliceCount : sliceCount
    const denominator = capped === -1 ? total : unit === capped ? unitChunks[unit]! : total - unitChunks[capped]!
    const numerator = count * copies
    const floor = Math.floor(numerator / denominator)
    targets[index] = floor
    groups[unit]!.push({
      device: index,
      floor,
      remainder: numerator % denominator,
      denominator,
      have: have[index]!,
    })
  })
  handOutRest(groups, targets, 2 * sliceCount)
  return targets
}

/** First every unit is filled to the floor of its own share, then the units with the largest fractions get one more. */
function handOutRest(groups: readonly Share[][], targets: Int32Array, copies: number): void {
  const next = groups.map(() => 0)
  const open: { unit: number; fraction: number; have: number }[] = []
  groups.forEach((group, unit) => {
    if (group.length === 0) return
    group.sort((a, b) => b.remainder - a.remainder || b.have - a.have || a.device - b.device)
    const rest = group.reduce((sum, share) => sum + share.remainder, 0)
    const denominator = group[0]!.denominator
    const whole = Math.floor(rest / denominator)
    for (let count = 0; count < whole; count++) targets[group[next[unit]!++]!.device]! += 1
    const fraction = (rest % denominator) / denominator
    const surplus = group.reduce((sum, share) => sum + share.have - share.floor, 0) - whole
    if (rest % denominator > 0) open.push({ unit, fraction, have: surplus })
  })
  let missing = copies - targets.reduce((sum, count) => sum + count, 0)
  open.sort((a, b) => b.fraction - a.fraction || b.have - a.have || a.unit - b.unit)
  for (const { unit } of open) {
    if (missing === 0) break
    targets[groups[unit]![next[unit]!++]!.device]! += 1
    missing--
  }
  assert(missing === 0, 'the shares of all devices add up to two copies of every slice')
}
