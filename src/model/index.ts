export * from './cluster-map.js'
export * from './objects.js'
