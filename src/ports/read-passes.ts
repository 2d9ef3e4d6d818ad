import type { DataFrame } from '../wire/data.js'
import type { Disk } from './disk.js'
import type { Connection } from './link.js'
import type { Tally } from './tally.js'

/** A moment of the clock, which may be moved on while passes depend on it. */
export interface Deadline {
  atMs: number
}
export type Deadlines = readonly [Deadline, Deadline]

/**
 * Reads that are answered below TypeScript. Whoever has answered a read may give a pass for more of the same chunk on the
 * same connection: from then on they are read from the disk and answered without him, as he would. Passes that are
 * void end that at once, also for reads that are under way: what is covered by no pass comes as any other message, and
 * is decided as if it had just arrived. No bytes leave under a pass that was void when they had been read.
 */
export interface ReadPasses {
  /**
   * For reads like `request`, anywhere in the chunk that begins at `chunkAtBytes` of the disk, before all of `deadlines`.
   * They are counted in `tally`.
   */
  give(
    connection: Connection<DataFrame>,
    request: DataFrame,
    disk: Disk,
    chunkAtBytes: number,
    deadlines: Deadlines,
    tally: Tally,
  ): void
  /** Voids the passes of a chunk, and perhaps of others. */
  void(volume: number, chunk: number): void
  voidAll(): void
  newTally(): Tally
  newDeadline(): Deadline
  /** Once: so much memory holds what passes have read or written of disks, for reads by passes. */
  keepInMemory(bytes: number): void
  /** Everything of this process, and what of it was read from memory. */
  readonly total: Tally
  readonly fromMemory: Tally
}
