import { isId } from '../base/ids.js'
import { type ConfigKeys, ConfigMistake, type ConfigOf, type ConfigValue } from './keys.js'
import { oneOf, parseEndpoint, parseEndpointList, parsePath, parsePathList, parseText } from './parse.js'

function parseSystemId(value: ConfigValue): string {
  if (!isId(value)) throw new ConfigMistake('a system id is 16 hexadecimal digits, as "scli --query_all" shows it')
  return value
}

/** The keys of sds.yaml. */
export const sdsKeys = {
  name: { key: 'name', parse: parseText, help: 'name of this daemon in logs and at the MDM' },
  listen: { key: 'listen', parse: parseEndpoint, help: 'host:port of the data endpoint; others reach it there' },
  mdm: { key: 'mdm', parse: parseEndpointList, help: 'host:port of every MDM' },
  directory: { key: 'directory', parse: parsePath, help: 'identity of this SDS and the indexes of its devices' },
  systemId: {
    key: 'system.id',
    parse: parseSystemId,
    default: null,
    help: 'the only system to take part in; by default the one first met',
  },
  deviceSearch: {
    key: 'devices.search',
    parse: parsePathList,
    default: '',
    help: 'directories and devices in which the devices of this SDS are looked for',
  },
  ioMode: { key: 'io.mode', parse: oneOf('direct', 'buffered'), default: 'direct', help: 'page cache or not' },
  logLevel: {
    key: 'log.level',
    parse: oneOf('error', 'warn', 'info', 'debug'),
    default: 'info',
    help: 'error, warn, info or debug',
  },
  metricsListen: { key: 'metrics.listen', parse: parseEndpoint, default: null, help: 'host:port of the metrics page' },
} as const satisfies ConfigKeys

export type SdsConfig = ConfigOf<typeof sdsKeys>
