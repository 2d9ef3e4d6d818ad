import type { Position } from './types.js'

/**
 * The order of places in a log: by term, then index. A newer term makes a smaller index the later place, since its
 * leader has replaced what stood beyond.
 */
export const isAtLeast = (position: Position, other: Position): boolean =>
  position.term === other.term ? position.index >= other.index : position.term > other.term
