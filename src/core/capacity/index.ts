export { admitShrink, admitVolume } from './admission.js'
export {
  accountsWith,
  deviceFill,
  freeForVolumesBytes,
  type PoolAccounts,
  poolAccounts,
  volumesOf,
} from './pool-capacity.js'
