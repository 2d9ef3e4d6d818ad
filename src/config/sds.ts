import { StorageError } from '../base/errors.js'
import { isId } from '../base/ids.js'
import { rmcacheBytesDefault, rmcacheBytesMax, rmcacheBytesMin } from '../base/limits.js'
import { type ConfigKeys, ConfigMistake, type ConfigOf, type ConfigValue } from './keys.js'
import {
  oneOf,
  parseCpus,
  parseDurationMs,
  parseEndpoint,
  parseEndpointList,
  parseInteger,
  parsePath,
  parsePathList,
  parseSizeBytes,
  parseText,
} from './parse.js'

function parseSystemId(value: ConfigValue): string {
  if (!isId(value)) throw new ConfigMistake('a system id is 16 hexadecimal digits, as "scli --query_all" shows it')
  return value
}

/** A shorter lease would run out in ordinary pauses of a busy host; a longer one would hold up every promotion. */
const leaseMsMin = 200
const leaseMsMax = 30_000

function parseLease(value: ConfigValue): number {
  const leaseMs = parseDurationMs(value)
  if (leaseMs < leaseMsMin || leaseMs > leaseMsMax)
    throw new ConfigMistake(`write ${leaseMsMin} ms to ${leaseMsMax / 1_000} s`)
  return leaseMs
}

function parseHeartbeat(value: ConfigValue): number {
  const heartbeatMs = parseDurationMs(value)
  if (heartbeatMs < 10 || heartbeatMs > leaseMsMax / 2) throw new ConfigMistake('write 10 ms to half of lease.timeout')
  return heartbeatMs
}

function parseCount(value: ConfigValue): number {
  const count = parseInteger(value)
  if (count < 0) throw new ConfigMistake('write a number of chunks, 0 or more')
  return count
}

/** 0: off. */
function parseRmcache(value: ConfigValue): number {
  if (value === 'off') return 0
  const mistake = new ConfigMistake('write off, or a size from 4 MiB to 64 GiB, as "512 MiB"')
  let bytes: number
  try {
    bytes = parseSizeBytes(value)
  } catch {
    throw mistake
  }
  if (bytes < rmcacheBytesMin || bytes > rmcacheBytesMax) throw mistake
  return bytes
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
  rmcacheBytes: {
    key: 'rmcache.size',
    parse: parseRmcache,
    default: `${rmcacheBytesDefault} B`,
    help: 'memory for what applications read or write, or off; with io.mode: buffered the page cache does that',
  },
  cpus: {
    key: 'cpus',
    parse: parseCpus,
    default: null,
    help: 'CPUs for the event loop, as "2" or "0-3,8"; by default all: one each where several SDSs share a host',
  },
  leaseTimeoutMs: {
    key: 'lease.timeout',
    parse: parseLease,
    default: '1 s',
    help: 'how long a promise between two SDSs holds; the same on all SDSs',
  },
  leaseHeartbeatMs: {
    key: 'lease.heartbeat',
    parse: parseHeartbeat,
    default: '250 ms',
    help: 'how often leases are renewed and the MDM hears from this SDS; at most half of lease.timeout',
  },
  marksIdleMs: {
    key: 'marks.idle',
    parse: parseDurationMs,
    default: '10 s',
    help: 'how long a chunk must be left alone before its write-intent mark is cleared',
  },
  marksKept: {
    key: 'marks.kept',
    parse: parseCount,
    default: '4096',
    help: 'up to so many marked chunks of a device keep their marks for a minute; what is marked is copied after a crash',
  },
  logLevel: {
    key: 'log.level',
    parse: oneOf('error', 'warn', 'info', 'debug'),
    default: 'info',
    help: 'error, warn, info or debug',
  },
  metricsListen: { key: 'metrics.listen', parse: parseEndpoint, default: null, help: 'host:port of the metrics page' },
} as const satisfies ConfigKeys

export type SdsConfig = ConfigOf<typeof sdsKeys>

/** What concerns more than one key; throws CONFIGURATION. */
export function checkSdsConfig({ leaseTimeoutMs, leaseHeartbeatMs }: SdsConfig): void {
  if (leaseHeartbeatMs * 2 <= leaseTimeoutMs) return
  throw new StorageError('CONFIGURATION', {
    detail: `lease.heartbeat = ${leaseHeartbeatMs} ms: a lease of ${leaseTimeoutMs} ms would run out between two renewals`,
    remedy: 'write at most half of lease.timeout',
  })
}
