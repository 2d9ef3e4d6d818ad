import { StorageError } from '../../base/errors.js'
import type { SliceRecord } from '../../model/index.js'

/**
 * Throws PLACEMENT unless `next` may follow `old` without anybody having reported a filled copy: copies in sync only
 * become fewer, and never none; only a copy in sync becomes primary; and `left` names a copy only while the primary has
 * been the only one in sync since that copy left.
 */
export function checkTransition(old: SliceRecord, next: SliceRecord): void {
  const { slice } = next
  if (next.epoch <= old.epoch) fail('every change raises the epoch', slice)
  if (next.lossEpoch !== old.lossEpoch) fail('no write is lost by a change of copies', slice)
  const inSync = [old.primary, old.secondary]
  if (!inSync.includes(next.primary)) fail('only a copy in sync becomes primary', slice)
  if (next.secondary !== null && !inSync.includes(next.secondary)) fail('a copy is in sync once it was filled', slice)
  if (next.secondary !== null && next.secondary === next.primary) fail('two copies are two', slice)
  const { left = null } = next
  if (left === null) return
  const dropped = next.primary === old.primary ? old.secondary : old.primary
  const allowed = old.secondary === null ? (old.left ?? null) : dropped
  if (next.secondary !== null || left !== allowed) fail('only the copy that left last may join by its marks', slice)
}

function fail(rule: string, slice: number): never {
  throw new StorageError('PLACEMENT', { detail: `a slice may not change so: ${rule}`, slice })
}
