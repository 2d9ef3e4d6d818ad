export { type JoinedCopy, joinedRecords } from './joined.js'
export { missingDevices, type ReturnFacts, type Settlement, type SliceChange, settle } from './settle.js'
export { type Outcome, type Standing, settleSlice } from './settle-slice.js'
