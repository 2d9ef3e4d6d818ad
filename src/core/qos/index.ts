export { bandwidthStepKbPerSec, effectiveLimits, type Limits } from './effective-limits.js'
