export { MapRing } from './map-ring.js'
export { PrimaryHistory, type PrimaryMoves, type Promotion } from './primary-history.js'
export { askRange, type LockRequest, RangeLocks } from './range-locks.js'
export * from './roles.js'
