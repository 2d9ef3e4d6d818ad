export type { MdmClient, MdmClientOptions } from './client.js'
export { openMdmClient } from './open.js'
