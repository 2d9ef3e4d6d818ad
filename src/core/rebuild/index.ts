export { type FillFacts, fillsPerDevice, gracePeriodMsDefault, gracePeriodMsOf } from './facts.js'
export { type FillPlan, planFills } from './plan.js'
export { isWorthNoting, noProgress, type Progress, progressAfter, resumedProgress } from './progress.js'
export { standsAsWished, type Wish, wishFor } from './wish.js'
