export { GrantedLeases, promiseMs } from './granted-leases.js'
export { HeldLease } from './held-lease.js'
export { type PromotionWait, PromotionWaits } from './promotion-waits.js'
