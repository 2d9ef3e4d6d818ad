import http from 'node:http'
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Endpoint } from '../model/objects.js'
import type { MetricSample } from '../ports/daemon.js'
import type { Listener } from '../ports/link.js'
import { LoopDelay } from './loop-delay.js'
import { listening } from './tcp-link.js'

/** Serves `/metrics` as Prometheus reads it: what `sample` says at that moment, and the process's own figures. */
export async function serveMetrics(at: Endpoint, sample: () => MetricSample[]): Promise<Listener> {
  const processRegistry = registryOfProcess()
  const loopDelay = new LoopDelay()
  const server = http.createServer(async (request, response) => {
    if (request.method !== 'GET' || request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404).end('see /metrics\n')
      return
    }
    try {
      const text = Registry.merge([registryOf([...sample(), ...loopDelay.samples()]), processRegistry])
      response.writeHead(200, { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE }).end(await text.metrics())
    } catch (error) {
      response.writeHead(500).end(`${error instanceof Error ? error.message : String(error)}\n`)
    }
  })
  server.requestTimeout = 10_000
  server.maxConnections = 64
  await listening(server, at)
  const address = server.address() as { port: number }
  return {
    endpoint: { host: at.host, port: address.port },
    close: async () => {
      loopDelay.close()
      server.close()
      server.closeAllConnections()
    },
  }
}

/** The process's own figures, without prom-client's of the event loop: it wakes the process 100 times a second for them. */
function registryOfProcess(): Registry {
  const register = new Registry()
  collectDefaultMetrics({ register, eventLoopMonitoringPrecision: 3_600_000 })
  for (const { name } of register.getMetricsAsArray())
    if (name.startsWith('nodejs_eventloop_lag')) register.removeSingleMetric(name)
  return register
}

/** Samples of one name belong together and have the same labels. */
function registryOf(samples: readonly MetricSample[]): Registry {
  const registry = new Registry()
  const metrics = new Map<string, Counter | Gauge>()
  for (const { name, help, kind, labels = {}, value } of samples) {
    let metric = metrics.get(name)
    if (metric === undefined) {
      const options = { name, help, labelNames: Object.keys(labels), registers: [registry] }
      metric = kind === 'counter' ? new Counter(options) : new Gauge(options)
      metrics.set(name, metric)
    }
    metric.inc(labels, value)
  }
  return registry
}
