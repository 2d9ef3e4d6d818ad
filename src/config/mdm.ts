import type { ConfigKeys, ConfigOf } from './keys.js'
import { oneOf, parseEndpoint, parsePath, parseText } from './parse.js'

/** The configuration file of an MDM. */
export const mdmKeys = {
  name: { key: 'name', parse: parseText, help: 'name of this MDM, for people and logs' },
  listen: { key: 'listen', parse: parseEndpoint, help: 'host:port for SDSs, SDCs and tools' },
  directory: { key: 'directory', parse: parsePath, help: 'where the configuration of the system is kept' },
  systemName: {
    key: 'system.name',
    parse: parseText,
    default: null,
    help: 'name of the system that is created in an empty directory; the MDM’s name if left out',
  },
  logLevel: {
    key: 'log.level',
    parse: oneOf('error', 'warn', 'info', 'debug'),
    default: 'info',
    help: 'error, warn, info or debug',
  },
  metricsListen: { key: 'metrics.listen', parse: parseEndpoint, default: null, help: 'host:port of the metrics page' },
} satisfies ConfigKeys

export type MdmConfig = ConfigOf<typeof mdmKeys>
