import { StorageError } from '../base/errors.js'
import type { MdmId } from '../base/ids.js'
import { apply, emptyState, type LogEntry, nextId, restore, type Snapshot } from '../core/mdm/index.js'
import type { SnapshotHead } from '../core/raft/index.js'
import { systemIdOf } from '../model/index.js'
import type { MetaStore, MetaWrite } from '../ports/index.js'
import { checkNext } from './log-hole.js'
import { contentOf, firstChain } from './replica.js'

/**
 * Shape of an MDM's directory. 1: `snapshot` (a state), `log` + index (commands): one MDM, without terms. 2: as
 * `RaftStore` says.
 */
export const formatVersion = 2

/** The version of what is there; null: nothing is. Throws CONFIGURATION where this program does not know it. */
export function checkFormat(format: unknown, directory: string): number | null {
  if (format === undefined) return null
  if (format === 1 || format === formatVersion) return format
  throw new StorageError('CONFIGURATION', {
    detail: 'the MDM directory was written by another version of this program',
    directory,
    format: Number(format),
    known: formatVersion,
    remedy: 'use the version that wrote it, or a newer one that upgrades it',
  })
}

/**
 * From version 1: all that the log has led to becomes a snapshot of term 1, and the MDM the only member of its cluster.
 * Writes that replace everything, to be made as one.
 */
export function upgraded(meta: MetaStore, directory: string): MetaWrite[] {
  const snapshot = meta.get(['snapshot']) as Snapshot | undefined
  const state = snapshot ? restore(snapshot) : emptyState()
  const writes: MetaWrite[] = []
  const { version } = state.map
  for (const { key, value } of meta.range(['log'])) {
    writes.push({ drop: key })
    const index = Number(key[1])
    // Entries that the snapshot holds already: it was written before they were dropped.
    if (index <= version) continue
    checkNext(index, state.map.version + 1, directory)
    apply(state, index, value as LogEntry)
  }
  const systemId = systemIdOf(state.map)!
  const id = nextId<'mdm'>(state) as MdmId
  const head: SnapshotHead = {
    index: state.map.version,
    term: 1,
    members: [{ id, kind: 'manager', isLearner: false }],
  }
  return [
    ...writes,
    { put: ['format'], value: formatVersion },
    { put: ['identity'], value: { systemId, id, kind: 'manager' } },
    { put: ['hard'], value: { term: 1, vote: id, commit: head.index } },
    { put: ['snapshot'], value: { head, content: contentOf(state, firstChain) } },
  ]
}
