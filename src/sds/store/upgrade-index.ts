import {
  type ChunkTable,
  indexFormat,
  indexKeys,
  isMapped,
  markKey,
  markValue,
  touchAtOpening,
} from '../../core/store/index.js'
import type { MetaStore, MetaWrite } from '../../ports/index.js'
import { commitDurably } from './steps.js'

const batchMarks = 10_000

interface Found {
  chunks: ChunkTable
  cleanStop: boolean
}

/** From each older format to the next one. The format is raised last: an interrupted upgrade begins anew. */
const upgrades: Record<number, (index: MetaStore, path: string, found: Found) => Promise<void>> = {
  /** No marks: after a clean stop there is nothing to mark; after any other one, every chunk that is here may differ. */
  1: async (index, path, { chunks, cleanStop }) => {
    if (!cleanStop) await markEverything(index, path, chunks)
  },
  /** Epochs of joining copies looked like those of others. All are noted anew with the first map. */
  2: async () => {},
}

export async function upgradeIndex(index: MetaStore, path: string, found: Found): Promise<void> {
  for (let format = Number(index.get(indexKeys.format)); format < indexFormat; format++) {
    await upgrades[format]!(index, path, found)
    await commitDurably(index, path, [{ put: indexKeys.format, value: format + 1 }])
  }
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
