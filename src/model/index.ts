export * from './cluster-map.js'
export * from './objects.js'
export { forgetVolumes, type PoolVolumes, type VolumeIndex, volumeIndexOf } from './volume-index.js'
