import type { DataFrame } from '../wire/data.js'
import type { Disk } from './disk.js'
import type { Connection } from './link.js'
import type { Deadlines } from './read-passes.js'
import type { Tally } from './tally.js'

/** Requests for one chunk on one connection are carried out and answered below TypeScript. */
export interface WritePass {
  /** Writes that have been carried out so far. */
  readonly done: number
  /** Nothing more is taken. It is over when what is under way is. */
  end(): void
  /** After `end`: what waits for the other copy alone is not waited for any longer, and what has not begun does not. */
  cut(): void
}

export interface WritePassOffer {
  connection: Connection<DataFrame>
  /** A write like those that are meant. */
  request: DataFrame
  disk: Disk
  /** Where the chunk begins on the disk. */
  chunkAtBytes: number
  /** What writes are counted in, and reads. */
  tallies: readonly [Tally, Tally]
  readTallies: readonly [Tally, Tally]
  /**
   * Where each write goes as well before it is answered. null: the requests are `copyWrite`, of another primary. With a
   * peer they are writes and reads of a client.
   */
  peer: { connection: Connection<DataFrame>; mapVersion: number } | null
  /** Reads are answered before all of these. */
  deadlines: Deadlines
  /**
   * The pass has ended: by `end`, or by itself, as something could not be done. The disk has nothing of it under way any
   * more. `unfinished`: writes that were begun and that the disk or the other copy may have or not; whoever gave the pass has
   * to finish them before anybody else sees the chunk. `errno`: what the disk has ended a write with. Never called before `give`, `end` or `cut` returns.
   */
  ended(unfinished: DataFrame[], errno: string | null): void
}

/**
 * Writes, and reads beside them, that are carried out and answered below TypeScript. Whoever has carried out one, and keeps
 * everybody else away from the chunk, may give a pass for more. What is not as the pass says, or is in the way of something
 * under way, comes as any other message, and is decided as if it had just arrived.
 */
export interface WritePasses {
  /** Whether writes like this one can be carried out on this disk. */
  serves(disk: Disk, like: Pick<DataFrame, 'offset' | 'length'>): boolean
  /** null: not on such connections or disks. */
  give(offer: WritePassOffer): WritePass | null
  newTally(): Tally
}
