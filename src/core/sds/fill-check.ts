/** What the primary can say for a chunk that one side alone has, while writes go on. */
export interface FillWitness {
  /** Something changed the chunk, or waited to, when the other side was asked, or does now. */
  isBusy(key: number): boolean
  /** The chunk's last change began after the other side was asked. */
  isTouched(key: number): boolean
}

/**
 * Chunks, by key, that only one of two copies has allocated, and for which no change under way accounts. `theirs` was true at
 * some moment between asking and now, `own` is true now. A chunk that a change gave or took a slot in between was either
 * being changed at one of the two ends of that time, or was touched in it.
 */
export function unexplainedChunks(own: Iterable<number>, theirs: Iterable<number>, witness: FillWitness): number[] {
  const one = new Set(own)
  const found: number[] = []
  const isOdd = (key: number) => !witness.isBusy(key) && !witness.isTouched(key)
  for (const key of theirs) if (!one.delete(key) && isOdd(key)) found.push(key)
  for (const key of one) if (isOdd(key)) found.push(key)
  return found
}
