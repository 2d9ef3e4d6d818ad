import type { MetricSample } from '../ports/index.js'

/** What the daemon has done since it started. */
export class SdsCounters {
  reads = 0
  readBytes = 0
  writes = 0
  writeBytes = 0
  trims = 0
  zeroes = 0
  flushes = 0
  copyWrites = 0
  copyReads = 0
  resyncBytes = 0
  resyncMarkedBytes = 0
  resyncDifferences = 0
  marksCleared = 0
  chunksPruned = 0
  refusedStale = 0
  refusedOther = 0
  parked = 0
  sessionsOpened = 0
  sessionsEnded = 0
  peerReconnects = 0
  mediaErrors = 0
  leaseWaits = 0
}

const helps: Record<keyof SdsCounters, string> = {
  reads: 'Client reads answered with data',
  readBytes: 'Bytes of client reads',
  writes: 'Client writes answered, on every copy',
  writeBytes: 'Bytes of client writes',
  trims: 'Client trims answered',
  zeroes: 'Client zero requests answered',
  flushes: 'Flushes answered',
  copyWrites: 'Changes carried out for the primaries of other SDSs',
  copyReads: 'Reads served to other SDSs',
  resyncBytes: 'Bytes copied to joining copies',
  resyncMarkedBytes: 'Of these, bytes of chunks that were marked, where marks sufficed',
  resyncDifferences: 'Filled slices that were found to differ, and were filled again',
  marksCleared: 'Write-intent marks cleared while both copies were in sync',
  chunksPruned: 'Chunks dropped because the device is no longer a copy of their slice',
  refusedStale: 'Requests refused because they named an older configuration',
  refusedOther: 'Requests refused for any other reason',
  parked: 'Requests that waited for the map to catch up',
  sessionsOpened: 'Data sessions welcomed',
  sessionsEnded: 'Data sessions that ended',
  peerReconnects: 'Sessions to other SDSs that had to be opened again',
  mediaErrors: 'Device operations that failed',
  leaseWaits: 'Requests that were held until a lease was there',
}

export function counterSamples(counters: SdsCounters): MetricSample[] {
  return (Object.keys(helps) as (keyof SdsCounters)[]).map(name => ({
    name: `blockmesh_sds_${name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}_total`,
    help: helps[name],
    kind: 'counter',
    value: counters[name],
  }))
}
