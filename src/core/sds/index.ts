export { unexplainedChunks } from './fill-check.js'
export { type FillKind, FillThrottle } from './fill-throttle.js'
export { MapRing } from './map-ring.js'
export {
  type MarkedChunk,
  marksBySecondary,
  mayClearMarks,
  type SliceMarks,
  stillIdle,
  strayMarks,
} from './mark-clearing.js'
export { PrimaryHistory, type PrimaryMoves, type Promotion } from './primary-history.js'
export { foreignSlices, isForeign } from './prune.js'
export { askRange, type LockRequest, RangeLocks } from './range-locks.js'
export * from './roles.js'
