export {
  type DeviceEvidence,
  devicesToHear,
  type KnownCopy,
  newerThan,
  planAcceptance,
  type Voided,
} from './acceptance.js'
export { buildAddVolume, buildDeviceGrown, buildDeviceReady, buildRemoveDevice } from './build.js'
export type { Command, CommandAnswer, CommandKind, Commands, LogEntry, PoolPlan, SliceReason } from './commands.js'
export { type Configuration, configurationOf } from './configuration.js'
export { answeredBefore, apply, applyOther, type Decision, decide } from './decide.js'
export { recoveryOf } from './deciders/configuration.js'
export { holdsCopies as holdingCopies } from './deciders/devices.js'
export { kindsOfMode, modeOf } from './deciders/mdms.js'
export { checkEpochs, returnedDevices } from './deciders/sdss.js'
export { exportConfiguration } from './export.js'
export { checkConfiguration } from './export-check.js'
export { parseConfiguration } from './export-parse.js'
export { hasVolumes } from './plan.js'
export { resolve } from './refs.js'
export {
  chainedDigest,
  digest,
  emptyState,
  type MdmState,
  nextId,
  type Outcome,
  restore,
  type Snapshot,
  snapshotOf,
} from './state.js'
export { systemLimits } from './system-limits.js'
