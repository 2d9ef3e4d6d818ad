import t from 'tap'
import { serveMetrics } from '../../../src/io/metrics.js'

t.test('metrics: the page has the samples of that moment, with labels, and the process figures', async t => {
  let reads = 1
  const listener = await serveMetrics({ host: '127.0.0.1', port: 0 }, () => [
    { name: 'blockmesh_reads_total', help: 'Reads.', kind: 'counter', labels: { device: 'd1' }, value: reads },
    { name: 'blockmesh_reads_total', help: 'Reads.', kind: 'counter', labels: { device: 'd2' }, value: 7 },
    { name: 'blockmesh_up', help: 'Up.', kind: 'gauge', value: 0 },
  ])
  t.teardown(() => listener.close())
  const page = async (path: string) => fetch(`http://127.0.0.1:${listener.endpoint.port}${path}`)
  reads = 2
  const text = await (await page('/metrics')).text()
  t.match(text, '# TYPE blockmesh_reads_total counter')
  t.match(text, 'blockmesh_reads_total{device="d1"} 2\n')
  t.match(text, 'blockmesh_reads_total{device="d2"} 7\n')
  t.match(text, 'blockmesh_up 0\n')
  t.match(text, /blockmesh_event_loop_delay_p999_ms \d/)
  t.match(text, /process_resident_memory_bytes \d+/)
  t.notMatch(text, 'nodejs_eventloop_lag', 'what wakes an idle process is measured once')
  t.equal((await page('/')).status, 404)
})

t.test('metrics: an address that is taken is refused with the reason', async t => {
  const listener = await serveMetrics({ host: '127.0.0.1', port: 0 }, () => [])
  t.teardown(() => listener.close())
  await t.rejects(
    serveMetrics(listener.endpoint, () => []),
    { code: 'UNREACHABLE' },
  )
})
