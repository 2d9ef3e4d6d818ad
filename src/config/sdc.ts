import { isId } from '../base/ids.js'
import { type ConfigKeys, ConfigMistake, type ConfigOf, type ConfigValue } from './keys.js'
import {
  oneOf,
  parseBoolean,
  parseDurationMs,
  parseEndpoint,
  parseEndpointList,
  parseInteger,
  parsePath,
  parseText,
} from './parse.js'

function parseSystemId(value: ConfigValue): string {
  if (!isId(value)) throw new ConfigMistake('a system id is 16 hexadecimal digits, as "scli --query_all" shows it')
  return value
}

/** Socket pairs of one /dev/nbdX. */
const connectionsMax = 16

function parseConnections(value: ConfigValue): number {
  const connections = parseInteger(value)
  if (connections < 1 || connections > connectionsMax) throw new ConfigMistake(`write 1 to ${connectionsMax}`)
  return connections
}

/** Shorter ones would turn an ordinary restart of an SDS into an error for the application. */
const ioTimeoutMsMin = 1_000

function parseIoTimeout(value: ConfigValue): number {
  const timeoutMs = parseDurationMs(value)
  if (timeoutMs < ioTimeoutMsMin) throw new ConfigMistake(`write at least ${ioTimeoutMsMin} ms, or leave it out`)
  return timeoutMs
}

/** The keys of sdc.yaml. */
export const sdcKeys = {
  name: { key: 'name', parse: parseText, help: 'name of this daemon in logs and at the MDM' },
  mdm: { key: 'mdm', parse: parseEndpointList, help: 'host:port of every MDM' },
  directory: { key: 'directory', parse: parsePath, help: 'identity and flush files of this SDC' },
  systemId: {
    key: 'system.id',
    parse: parseSystemId,
    default: null,
    help: 'the only system to take part in; by default the one first met',
  },
  nbdSocket: { key: 'nbd.socket', parse: parsePath, default: null, help: 'unix socket for NBD clients' },
  nbdListen: {
    key: 'nbd.listen',
    parse: parseEndpoint,
    default: null,
    help: 'host:port for NBD clients; whoever reaches it reads and writes, so it needs nbd.insecure',
  },
  nbdInsecure: {
    key: 'nbd.insecure',
    parse: parseBoolean,
    default: 'false',
    help: 'true: serve NBD over TCP without any check of who asks',
  },
  kernel: {
    key: 'kernel',
    parse: oneOf('auto', 'on', 'off'),
    default: 'auto',
    help: '/dev/nbdX for every mapped volume: where the kernel can (auto), always (on), never (off)',
  },
  nbdConnections: {
    key: 'nbd.connections',
    parse: parseConnections,
    default: '1',
    help: 'socket pairs of each /dev/nbdX',
  },
  ioTimeoutMs: {
    key: 'io.timeout',
    parse: parseIoTimeout,
    default: null,
    help: 'after this an unanswered request fails with EIO; by default it waits for ever',
  },
  logLevel: {
    key: 'log.level',
    parse: oneOf('error', 'warn', 'info', 'debug'),
    default: 'info',
    help: 'error, warn, info or debug',
  },
  metricsListen: { key: 'metrics.listen', parse: parseEndpoint, default: null, help: 'host:port of the metrics page' },
} as const satisfies ConfigKeys

export type SdcConfig = ConfigOf<typeof sdcKeys>
