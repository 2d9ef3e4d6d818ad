export { checkRecord, checkSlices } from './check.js'
export { holdingDevices, type PlacementDevice, readyDevices } from './device.js'
export { planSlices } from './plan.js'
