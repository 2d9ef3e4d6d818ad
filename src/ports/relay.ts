import type { DataFrame } from '../wire/data.js'
import type { Connection } from './link.js'
import type { Tally } from './tally.js'

/**
 * Where more requests go for the chunk, and for all chunks of its slice: every `sliceCount`th of the volume, which has
 * `chunkCount`; and what they say.
 */
export interface Route
  extends Pick<DataFrame, 'pool' | 'slice' | 'epoch' | 'mapping' | 'volume' | 'chunk' | 'mapVersion'> {
  sliceCount: number
  chunkCount: number
  connection: Connection<DataFrame>
  reads: Tally
  writes: Tally
  /** null: reads alone. */
  notes: RelayNotes | null
}

/** What writes of a volume are noted in below TypeScript, before they are answered. */
export interface RelayNotes {
  /** Writes that an SDS has been sent and has not answered, also those that have come back. */
  readonly unanswered: number
  /** After all routes with them have been taken back, and nothing is unanswered. */
  close(): void
}

/**
 * Reads and writes of NBD clients that are sent to an SDS, and answered, below TypeScript. Whoever has had one answered gives
 * the client's stream a route for more of the same slice. What is not answered as it should be, and everything of a
 * connection that ends, comes back, and is decided as if the client asked now.
 */
export interface Relay {
  /** All routes end, and what is under way comes back. */
  takeBackAll(): void
  /** What has been under way for so long comes back. */
  takeBackOlder(thanMs: number): void
  /** Requests that the SDS at the end of that connection has not answered, also those that have come back. */
  unansweredOn(connection: Connection<DataFrame>): number
  newTally(): Tally
  /**
   * `cells` and `below` have a number for each slice. A write of an epoch is answered only where `cells` has no greater one, and
   * when `below` has no greater one, either.
   */
  newNotes(cells: Uint32Array, below: Uint32Array): RelayNotes
}
