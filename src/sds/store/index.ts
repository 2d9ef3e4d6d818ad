export { type CreateDeviceOptions, createDevice, type ReleaseDeviceOptions, releaseDevice } from './create-device.js'
export type { DeviceStore, StoreDone, StoreError, StoreUsage } from './device-store.js'
export { type DeviceIdentity, identify } from './label.js'
export { type OpenDeviceOptions, openDevice } from './open-device.js'
