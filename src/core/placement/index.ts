export { checkRecord, checkSlices } from './check.js'
export { type PlacementDevice, readyDevices } from './device.js'
export { planSlices } from './plan.js'
