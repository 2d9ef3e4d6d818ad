import {
  type ChunkTable,
  indexFormat,
  indexFormatUnmarked,
  indexKeys,
  isMapped,
  markKey,
  markValue,
  touchAtOpening,
} from '../../core/store/index.js'
import type { MetaStore, MetaWrite } from '../../ports/index.js'
import { commitDurably } from './steps.js'

const batchMarks = 10_000

/**
 * Format 1 had no marks. After a clean stop there is nothing to mark; after any other one, every chunk that is here may
 * differ from its other copy. The format is raised last: an interrupted upgrade begins anew.
 */
export async function upgradeIndex(
  index: MetaStore,
  path: string,
  found: { chunks: ChunkTable; cleanStop: boolean },
): Promise<void> {
  if (index.get(indexKeys.format) !== indexFormatUnmarked) return
  if (!found.cleanStop) await markEverything(index, path, found.chunks)
  await commitDurably(index, path, [{ put: indexKeys.format, value: indexFormat }])
}

async function markEverything(index: MetaStore, path: string, table: ChunkTable): Promise<void> {
  let writes: MetaWrite[] = []
  for (const volume of table.volumes()) {
    const chunks = table.open(volume)
    for (const { chunk, entry } of chunks.entries()) {
      if (!isMapped(entry)) continue
      chunks.marks.set(chunk, touchAtOpening)
      writes.push({ put: markKey(volume, chunk), value: markValue })
      if (writes.length < batchMarks) continue
      await commitDurably(index, path, writes)
      writes = []
    }
  }
  if (writes.length > 0) await commitDurably(index, path, writes)
}
