import type { DataFrame } from '../wire/data.js'
import type { Disk } from './disk.js'
import type { Connection } from './link.js'

/** What was answered by passes. */
export interface ReadTally {
  readonly reads: number
  readonly readBytes: number
  /** Under way now. */
  readonly readingNow: number
  /** Came back, as the pass had become void, or the disk gave an error. */
  readonly returned: number
  /** Nothing more will be counted in it, but for the ends of what is under way. */
  close(): void
}

/**
 * Reads that are answered below TypeScript. Whoever has answered a read may give a pass for more of the same chunk on the
 * same connection: from then on they are read from the disk and answered without him, as he would. Passes that are
 * void end that at once, also for reads that are under way: what is covered by no pass comes as any other message, and
 * is decided as if it had just arrived. No bytes leave under a pass that was void when they had been read.
 */
export interface ReadPasses {
  /**
   * For reads like `request`, anywhere in the chunk that begins at `chunkAtBytes` of the disk, until `untilMs` of the clock.
   * They are counted in `tally`.
   */
  give(
    connection: Connection<DataFrame>,
    request: DataFrame,
    disk: Disk,
    chunkAtBytes: number,
    untilMs: number,
    tally: ReadTally,
  ): void
  /** Voids the passes of a chunk, and perhaps of others. */
  void(volume: number, chunk: number): void
  voidAll(): void
  newTally(): ReadTally
  /** Everything of this process. */
  readonly total: ReadTally
}
