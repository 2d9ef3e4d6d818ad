import { assert } from '../../base/assert.js'

/** What a table of chunks holds in blocks of `blockChunks`, by the block's number. */
export interface SparseChunks {
  blocks: ReadonlyMap<number, unknown>
  blockChunks: number
}

/** Chunks among `first, first + step, …` below `end` that are wanted, ascending. Blocks that are not there hold none. */
export function chunksAmong(
  { blocks, blockChunks }: SparseChunks,
  first: number,
  end: number,
  step: number,
  isWanted: (chunk: number) => boolean,
): number[] {
  assert(step >= 1, 'steps go forward')
  const chunks: number[] = []
  if (step >= blockChunks || blocks.size * blockChunks >= (end - first) / step) {
    for (let chunk = first; chunk < end; chunk += step) if (isWanted(chunk)) chunks.push(chunk)
    return chunks
  }
  for (const index of [...blocks.keys()].sort((a, b) => a - b)) {
    const start = index * blockChunks
    const steps = Math.max(0, Math.ceil((start - first) / step))
    const stop = Math.min(end, start + blockChunks)
    for (let chunk = first + steps * step; chunk < stop; chunk += step) if (isWanted(chunk)) chunks.push(chunk)
  }
  return chunks
}
