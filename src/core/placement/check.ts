import { StorageError } from '../../base/errors.js'
import type { SliceRecord } from '../../model/index.js'
import type { PlacementDevice } from './device.js'

/**
 * Throws PLACEMENT unless `records` are one record for each slice, all copies on `devices`, primary and secondary in
 * different fault units, and joining in another one than the primary (it may stand in for the secondary's unit).
 */
export function checkSlices(
  devices: readonly PlacementDevice[],
  sliceCount: number,
  records: readonly SliceRecord[],
): void {
  if (records.length !== sliceCount) fail('a slice table names every slice once', records.length)
  const unitOf = new Map(devices.map(device => [device.deviceId, device.faultUnit]))
  records.forEach((record, slice) => {
    if (record.slice !== slice) fail('a slice table is in order', slice)
    checkRecord(unitOf, record)
  })
}

/** The same for one record: `unitOf` names the fault unit of every device that may hold copies. */
export function checkRecord(unitOf: ReadonlyMap<string, string>, record: SliceRecord): void {
  const { slice, primary, secondary, joining } = record
  for (const copy of [primary, secondary, joining])
    if (copy !== null && !unitOf.has(copy)) fail('a copy stands on a ready device of the pool', slice, copy)
  const unit = unitOf.get(primary)
  if (secondary !== null && unitOf.get(secondary) === unit) fail('two copies never stand in one fault unit', slice)
  if (joining !== null && (joining === primary || joining === secondary)) fail('a copy joins once', slice)
  // It joins beside the primary, in the place of the secondary: a primary's own copy moves only after a swap.
  if (joining !== null && unitOf.get(joining) === unit) fail('two copies never stand in one fault unit', slice)
  const { left = null } = record
  if (left !== null && (left === primary || secondary !== null))
    fail('a copy has left only while the primary is the only one in sync', slice, left)
  if (!Number.isSafeInteger(record.epoch) || record.epoch < 1 || record.lossEpoch > record.epoch)
    fail('epochs are whole numbers from 1', slice)
}

function fail(rule: string, slice: number, device?: string): never {
  throw new StorageError('PLACEMENT', { detail: `the slice table breaks a rule: ${rule}`, slice, device })
}
