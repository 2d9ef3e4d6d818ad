import { nobody, type SliceTable } from './table.js'

/**
 * Chooses which copy is primary (`first`), so that every device is primary for about half of its copies. From scratch
 * the choice is free; relative to a table so far roles are swapped only where a device has clearly too many.
 */
export function balancePrimaries(table: SliceTable, free: boolean): void {
  // Primaries less secondaries: 0 is even.
  const lead = new Int32Array(table.devices.length)
  for (let slice = 0; slice < table.sliceCount; slice++) {
    const first = table.first[slice]!
    const second = table.second[slice]!
    if (first === nobody || second === nobody) continue
    if (free && lead[first]! > lead[second]!) swap(table, slice)
    lead[table.first[slice]!]! += 1
    lead[table.second[slice]!]! -= 1
  }
  // A swap moves two from one lead to the other; it helps while they differ by more than two. Bounded: each swap lowers
  // the sum of squares.
  for (let swapped = true; swapped; ) {
    swapped = false
    for (let slice = 0; slice < table.sliceCount; slice++) {
      const first = table.first[slice]!
      const second = table.second[slice]!
      if (lead[first]! - lead[second]! <= 2) continue
      swap(table, slice)
      lead[first]! -= 2
      lead[second]! += 2
      swapped = true
    }
  }
}

function swap(table: SliceTable, slice: number): void {
  const first = table.first[slice]!
  table.first[slice] = table.second[slice]!
  table.second[slice] = first
}
