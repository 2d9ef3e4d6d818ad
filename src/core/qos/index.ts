export { bandwidthStepKbPerSec, effectiveLimits, type Limits } from './effective-limits.js'
export { Throttle, type Throttled } from './throttle.js'
export { burstMs } from './token-bucket.js'
