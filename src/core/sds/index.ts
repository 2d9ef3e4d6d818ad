export { MapRing } from './map-ring.js'
export { askRange, type LockRequest, RangeLocks } from './range-locks.js'
export * from './roles.js'
