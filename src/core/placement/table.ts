import type { SliceRecord } from '../../model/index.js'
import type { PlacementDevice } from './device.js'

export const nobody = -1

/**
 * The planner's working table: devices and fault units by index. `first` and `second` are the two copies of each slice
 * (`nobody` where one is to be found); `pairs` counts, per device and fault unit, how often a copy's partner stands
 * there, which is what "spread over the others" is measured by.
 */
export class SliceTable {
  readonly first: Int32Array
  readonly second: Int32Array
  readonly unitOf: Int32Array
  readonly unitCount: number
  readonly have: Int32Array
  readonly pairs: Int32Array

  constructor(
    readonly devices: readonly PlacementDevice[],
    readonly sliceCount: number,
    tableSoFar: readonly SliceRecord[] | null,
  ) {
    const units = new Map<string, number>()
    this.unitOf = Int32Array.from(devices, ({ faultUnit }) => {
      if (!units.has(faultUnit)) units.set(faultUnit, units.size)
      return units.get(faultUnit)!
    })
    this.unitCount = units.size
    this.have = new Int32Array(devices.length)
    this.pairs = new Int32Array(devices.length * this.unitCount)
    this.first = new Int32Array(sliceCount).fill(nobody)
    this.second = new Int32Array(sliceCount).fill(nobody)
    if (tableSoFar) this.#load(tableSoFar)
  }

  #load(tableSoFar: readonly SliceRecord[]): void {
    const indexOf = new Map(this.devices.map((device, index) => [device.deviceId, index]))
    for (const record of tableSoFar) {
      const first = indexOf.get(record.primary) ?? nobody
      const other = record.secondary ?? record.joining ?? record.left ?? null
      const second = other === null ? nobody : (indexOf.get(other) ?? nobody)
      this.put(record.slice, first)
      // Two copies in one unit can only stem from a joining copy that replaces another one: it has to go on.
      if (first === nobody || second === nobody || this.unitOf[first] !== this.unitOf[second])
        this.put(record.slice, second)
    }
  }

  holes(slice: number): number {
    return (this.first[slice] === nobody ? 1 : 0) + (this.second[slice] === nobody ? 1 : 0)
  }

  /** The copy beside a hole. */
  only(slice: number): number {
    return this.first[slice] === nobody ? this.second[slice]! : this.first[slice]!
  }

  other(slice: number, device: number): number {
    return this.first[slice] === device ? this.second[slice]! : this.first[slice]!
  }

  holds(slice: number, unit: number): boolean {
    const first = this.first[slice]!
    const second = this.second[slice]!
    return (first !== nobody && this.unitOf[first] === unit) || (second !== nobody && this.unitOf[second] === unit)
  }

  put(slice: number, device: number): void {
    if (device === nobody) return
    const other = this.only(slice)
    if (this.first[slice] === nobody) this.first[slice] = device
    else this.second[slice] = device
    this.have[device]! += 1
    this.#count(device, other, 1)
  }

  take(slice: number, device: number): void {
    const other = this.other(slice, device)
    if (this.first[slice] === device) this.first[slice] = nobody
    else this.second[slice] = nobody
    this.have[device]! -= 1
    this.#count(device, other, -1)
  }

  pairsOf(device: number, unit: number): number {
    return this.pairs[device * this.unitCount + unit]!
  }

  #count(device: number, other: number, by: number): void {
    if (other === nobody) return
    this.pairs[device * this.unitCount + this.unitOf[other]!]! += by
    this.pairs[other * this.unitCount + this.unitOf[device]!]! += by
  }
}
