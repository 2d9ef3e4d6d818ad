import type { DataFrame } from '../wire/data.js'
import type { Connection } from './link.js'
import type { Tally } from './tally.js'

/** Where more reads of one chunk of a volume go, and what they say. */
export interface ReadRoute
  extends Pick<DataFrame, 'pool' | 'slice' | 'epoch' | 'mapping' | 'volume' | 'chunk' | 'mapVersion'> {
  connection: Connection<DataFrame>
  tally: Tally
}

/**
 * Reads of NBD clients that are sent to an SDS, and answered, below TypeScript. Whoever has had one answered gives the
 * client's stream a route for more of the same chunk. What is not answered as it should be, and everything of a connection
 * that ends, comes back, and is decided as if the client asked now.
 */
export interface ReadRelay {
  /** All routes end, and what is under way comes back. */
  takeBackAll(): void
  /** What has been under way for so long comes back. */
  takeBackOlder(thanMs: number): void
  newTally(): Tally
}
