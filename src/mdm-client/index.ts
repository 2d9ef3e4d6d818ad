export { spell } from './address-book.js'
export { type AskClusterOptions, askCluster, type ClusterAnswer } from './ask-cluster.js'
export type { MdmClient, MdmClientOptions } from './client.js'
export { openMdmClient } from './open.js'
