import type { DeviceId } from '../base/ids.js'
import type { MetricSample } from '../ports/index.js'
import type { SdsContext } from './context.js'
import { counterSamples } from './counters.js'
import type { DataEndpoint } from './data-endpoint.js'
import type { Resync } from './resync.js'

export function sdsMetrics(
  context: SdsContext,
  endpoint: DataEndpoint,
  resyncs: ReadonlyMap<DeviceId, Resync>,
): MetricSample[] {
  const { counters, passes, lanes } = context
  const samples = counterSamples({
    ...counters,
    reads: counters.reads + passes.total.ios,
    readBytes: counters.readBytes + passes.total.bytes,
    writes: counters.writes + lanes.writes.ios,
    writeBytes: counters.writeBytes + lanes.writes.bytes,
    copyWrites: counters.copyWrites + lanes.copies.ios,
  })
  const counter = (name: string, help: string, value: number) =>
    samples.push({ name: `blockmesh_sds_${name}_total`, help, kind: 'counter', value })
  counter('reads_by_pass', 'Of the client reads, those answered by the addon alone', passes.total.ios)
  counter('reads_from_memory', 'Of those, the ones that the RAM read cache had', passes.fromMemory.ios)
  counter('reads_returned', 'Reads begun by the addon and decided anew, as something changed', passes.total.returned)
  counter('writes_by_pass', 'Of the client writes, those carried out by the addon alone', lanes.writes.ios)
  counter('copies_by_pass', 'Of the changes for other primaries, those carried out by the addon', lanes.copies.ios)
  const returned = lanes.writes.returned + lanes.copies.returned
  counter('writes_unfinished', 'Writes begun by the addon and finished by others, as something changed', returned)
  const gauge = (name: string, help: string, value: number, labels?: Record<string, string>) =>
    samples.push({ name: `blockmesh_sds_${name}`, help, kind: 'gauge', value, ...(labels ? { labels } : {}) })
  gauge('serving', '1 while the MDM has confirmed this process', context.isServing ? 1 : 0)
  gauge('map_version', 'Version of the map in effect', context.view.version)
  gauge('sessions', 'Open data sessions', endpoint.sessionsNow)
  gauge('copy_requests', 'Requests to other copies without an answer', context.peers.outstandingNow)
  gauge('promotion_waits', 'Slices that a former primary may still serve', context.leases.promotionWaitsNow)
  for (const device of context.devices.values()) {
    const labels = { device: device.id }
    const { slotsTotal, slotsUsed } = device.store.usage()
    gauge('device_slots', 'Slots of the device', slotsTotal, labels)
    gauge('device_slots_used', 'Slots that hold or are to hold a chunk', slotsUsed, labels)
    gauge('device_requests', 'Requests that hold or wait for a range lock', device.active.size, labels)
    gauge('device_lanes', 'Chunks that the addon writes alone', device.lanes.size, labels)
    gauge('device_failed', '1 once the device has answered with an error', device.store.failed === null ? 0 : 1, labels)
    const resync = resyncs.get(device.id)
    gauge('resync_chunks_left', 'Chunks still to copy to joining copies', resync?.chunksLeft ?? 0, labels)
    gauge('resync_chunks_all', 'The same, with those already copied', resync?.chunksTotal ?? 0, labels)
    gauge('marks', 'Chunks that are marked for having been changed', device.store.markedCount(), labels)
  }
  return samples
}
