import type { MetricSample } from '../ports/index.js'
import type { DataPath } from './data-path.js'
import type { VolumeClient } from './volume-client.js'

/** Everything that the metrics page of an SDC shows. */
export function sdcMetrics(
  path: DataPath | null,
  volumes: Iterable<VolumeClient>,
  mdmConnected: boolean,
): MetricSample[] {
  const samples: MetricSample[] = [
    gauge('mdm_connected', 'whether the SDC has a connection to the MDM', mdmConnected ? 1 : 0),
  ]
  for (const volume of volumes) samples.push(...volumeSamples(volume))
  if (path === null) return samples
  for (const session of path.sessions) {
    const labels = { device: session.deviceId }
    samples.push(
      gauge('session_up', 'whether the session with a device is up', session.isUp ? 1 : 0, labels),
      gauge('session_requests', 'requests sent to a device or waiting for it', session.keptCount, labels),
      counter('session_connects_total', 'connections made to a device', session.connects, labels),
      counter('session_resends_total', 'requests sent again after a connection ended', session.resends, labels),
    )
  }
  samples.push(gauge('slices_waiting', 'slices whose requests wait because they were refused', path.troubledSlices))
  return samples
}

function volumeSamples(volume: VolumeClient): MetricSample[] {
  const { stats } = volume
  const labels = { volume: volume.name, volume_id: volume.volume.id }
  const samples: MetricSample[] = []
  for (const kind of ['read', 'write', 'trim', 'zero', 'flush'] as const) {
    samples.push(
      counter(
        `${kind === 'flush' ? 'flushe' : kind}s_total`,
        `${kind} requests of a volume`,
        stats.requests(kind),
        labels,
      ),
    )
    if (kind !== 'flush')
      samples.push(counter(`${kind}_bytes_total`, `bytes of ${kind} requests`, stats.bytes(kind), labels))
  }
  for (const kind of ['read', 'write'] as const) {
    const { ios, returned } = stats.relayed[kind]
    samples.push(
      counter(`${kind}s_relayed_total`, `of the ${kind} requests, those that the addon alone passed on`, ios, labels),
      counter(`${kind}s_returned_total`, `${kind}s that the addon gave back undone`, returned, labels),
    )
  }
  samples.push(
    counter('throttled_total', 'requests that waited for the limits of the mapping', stats.throttled, labels),
    counter('retries_total', 'parts of requests that were refused and sent again', stats.retries, labels),
    counter('errors_total', 'requests that were answered with an error', stats.errors, labels),
    counter('timeouts_total', 'requests that ran into the I/O timeout', stats.timeouts, labels),
    counter('zero_chunks_total', 'chunks of zeroes written and stored as holes', stats.zeroChunks, labels),
    counter('losses_total', 'flushes that reported lost writes', volume.flusher.lossesReported, labels),
    gauge('requests_active', 'requests under way', volume.requestsActive, labels),
    gauge('requests_throttled', 'requests that wait for the limits now', volume.requestsThrottled, labels),
  )
  return samples
}

type Labels = Record<string, string>

const sample = (kind: 'counter' | 'gauge', name: string, help: string, value: number, labels?: Labels): MetricSample =>
  labels === undefined
    ? { name: `blockmesh_sdc_${name}`, help, kind, value }
    : { name: `blockmesh_sdc_${name}`, help, kind, labels, value }

const counter = (name: string, help: string, value: number, labels?: Labels) =>
  sample('counter', name, help, value, labels)
const gauge = (name: string, help: string, value: number, labels?: Labels) => sample('gauge', name, help, value, labels)
