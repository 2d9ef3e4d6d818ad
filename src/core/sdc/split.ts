import { chunkBytes } from '../../base/units.js'

/**
 * Parts of one request that may be under way at once. More than the parts of the largest read or write (32 MiB that
 * begin inside a chunk: 33), so that only long trims and zeroes wait for their own beginnings.
 */
export const partsInFlightMax = 64

/** Bytes of the part that begins at `offsetBytes`: up to the end of its chunk, or of the request. */
export const partBytesAt = (offsetBytes: number, endBytes: number): number =>
  Math.min(chunkBytes - (offsetBytes % chunkBytes), endBytes - offsetBytes)
