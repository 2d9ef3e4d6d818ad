import { StorageError } from '../base/errors.js'
import type { ConfigKeys, ConfigOf } from './keys.js'
import { oneOf, parseBoolean, parseDurationMs, parseEndpoint, parseInteger, parsePath, parseText } from './parse.js'

/** The configuration file of an MDM. */
export const mdmKeys = {
  name: { key: 'name', parse: parseText, help: 'name of this MDM, for people and logs' },
  listen: { key: 'listen', parse: parseEndpoint, help: 'host:port for SDSs, SDCs and tools' },
  directory: { key: 'directory', parse: parsePath, help: 'where the configuration of the system is kept' },
  kind: {
    key: 'kind',
    parse: oneOf('manager', 'tieBreaker'),
    default: 'manager',
    help: 'manager, or tieBreaker: votes and stores no configuration; fixed once the MDM is attached to a system',
  },
  createSystem: {
    key: 'system.create',
    parse: parseBoolean,
    default: 'true',
    help: 'false: in an empty directory the MDM creates no system, but waits for one to attach it; a tie breaker always does',
  },
  systemName: {
    key: 'system.name',
    parse: parseText,
    default: null,
    help: 'name of the system that is created in an empty directory; the MDM’s name if left out',
  },
  heartbeatMs: {
    key: 'cluster.heartbeat',
    parse: parseDurationMs,
    default: '100 ms',
    help: 'how often the master tells the other MDMs that it lives; the same on all of them',
  },
  electionMs: {
    key: 'cluster.election',
    parse: parseDurationMs,
    default: '500 ms',
    help: 'an MDM that has not heard of the master for this long, or up to twice as long, stands for election',
  },
  logEntriesMax: {
    key: 'log.entries',
    parse: parseInteger,
    default: '1000',
    help: 'changes after which the log is replaced by a snapshot; large ones count more than once',
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

/** A shorter silence is an ordinary pause of a busy host; a longer one would leave the cluster without a master. */
const electionMsMin = 200
const electionMsMax = 10_000

/** What concerns more than one key; throws CONFIGURATION. */
export function checkMdmConfig({ heartbeatMs, electionMs, logEntriesMax }: MdmConfig): void {
  const refuse = (detail: string, remedy: string) => {
    throw new StorageError('CONFIGURATION', { detail, remedy })
  }
  if (logEntriesMax < 10) refuse(`log.entries = ${logEntriesMax}: nothing but snapshots`, 'write 10 or more')
  if (electionMs < electionMsMin || electionMs > electionMsMax)
    refuse(`cluster.election = ${electionMs} ms`, `write ${electionMsMin} ms to ${electionMsMax / 1000} s`)
  if (heartbeatMs < 20 || heartbeatMs * 4 > electionMs)
    refuse(
      `cluster.heartbeat = ${heartbeatMs} ms: a few that come late would already be an election`,
      'write 20 ms to a quarter of cluster.election',
    )
}
