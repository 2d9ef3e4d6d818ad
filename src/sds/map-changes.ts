import { frameBodyBytesMax } from '../base/limits.js'
import { type MapDelta, tableNames } from '../model/index.js'
import { decode, encode } from '../wire/codec.js'

/** null where there is nothing to hand over, or too much for one frame: the MDM's push brings it. */
export function encodeDeltas(deltas: readonly MapDelta[]): Buffer | null {
  if (deltas.length === 0) return null
  const body = encode(deltas)
  return body.length <= frameBodyBytesMax ? body : null
}

/** Map changes as another SDS sent them; null if they are malformed. */
export function parseDeltas(body: readonly Buffer[]): MapDelta[] | null {
  try {
    const value = decode(body.length === 1 ? body[0]! : Buffer.concat(body))
    return Array.isArray(value) && value.every(isDelta) ? (value as MapDelta[]) : null
  } catch {
    return null
  }
}

function isDelta(value: unknown): boolean {
  const delta = value as MapDelta | null
  if (typeof delta !== 'object' || delta === null) return false
  return Number.isSafeInteger(delta.version) && Array.isArray(delta.changes) && delta.changes.every(isChange)
}

const isTable = (name: unknown): boolean => (tableNames as readonly unknown[]).includes(name)

function isChange(value: unknown): boolean {
  const change = value as Record<string, unknown> | null
  switch (change?.kind) {
    case 'put':
      return isTable(change.table) && typeof (change.value as { id?: unknown } | null)?.id === 'string'
    case 'drop':
      return isTable(change.table) && typeof change.id === 'string'
    case 'dropSlices':
      return typeof change.poolId === 'string'
    case 'slices':
      return typeof change.poolId === 'string' && Array.isArray(change.slices) && change.slices.every(isRecord)
    default:
      return false
  }
}

function isRecord(value: unknown): boolean {
  const record = value as Record<string, unknown> | null
  const copy = (id: unknown) => id === null || typeof id === 'string'
  return (
    typeof record === 'object' &&
    record !== null &&
    Number.isSafeInteger(record.slice) &&
    Number.isSafeInteger(record.epoch) &&
    typeof record.primary === 'string' &&
    copy(record.secondary) &&
    copy(record.joining)
  )
}
