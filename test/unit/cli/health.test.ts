import t from 'tap'
import { describeCluster, exportsMatch } from '../../../src/cli/local/cluster-file.js'
import { problemsOf } from '../../../src/cli/local/health.js'
import { topologyDefault } from '../../../src/cli/local/options.js'
import { planCluster } from '../../../src/cli/local/plan.js'
import type { RunState } from '../../../src/cli/local/process-table.js'
import { idOf, makeClusterReport, makeReport } from './report-fixture.js'

const state = planCluster('/nowhere', topologyDefault, [1, 2, 3, 4, 5, 6, 7, 8, 9])
const all = (is: RunState) => new Map(state.processes.map(process => [process.name, is]))

t.test('health: a cluster in which everything is as it should be has no problems', async t => {
  t.same(problemsOf(state, makeReport(), null, all('running')), [])
})

t.test('health: what is not as it should be is said with its name', async t => {
  const cases: [RegExp, (report: ReturnType<typeof makeReport>) => void][] = [
    [/^sds-2 is not connected/, report => (report.sdss[1]!.connected = false)],
    [/^sdc-1 is not connected/, report => (report.sdcs[0]!.connected = false)],
    [/^device .*sds-1\/device-1 is pending/, report => (report.devices[0]!.state = 'pending')],
    [/^device .*sds-1\/device-1 is not open/, report => (report.devices[0]!.connected = false)],
    [
      /^pool pool1: 1000 of 1024 slices are healthy \(24 joining\)/,
      report => Object.assign(report.pools[0]!.slices, { healthy: 1000, joining: 24 }),
    ],
    [/^volume vol1 at sdc-1: not exported yet/, report => (report.sdcs[0]!.exports = [])],
    [/^volume vol1 at sdc-1: no device/, report => (report.sdcs[0]!.exports[0]!.error = 'no device')],
  ]
  for (const [problem, spoil] of cases) {
    const report = makeReport()
    spoil(report)
    t.match(problemsOf(state, report, null, all('running')), [problem], String(problem))
  }
  t.match(problemsOf(state, null, null, all('down')), [/^mdm-1 is down/])
  t.match(problemsOf(state, makeReport(), null, all('suspended')), [/^mdm-1 is suspended/])
})

t.test('cluster.json: processes, devices and volumes are as the design says', async t => {
  const file = describeCluster('/nowhere', state, makeReport())
  t.same(Object.keys(file), ['systemId', 'gateway', 'processes', 'devices', 'volumes'])
  t.equal(file.gateway, null)
  t.same(file.processes[1], {
    name: 'sds-1',
    role: 'sds',
    pid: null,
    address: '127.0.0.1:3',
    metrics: 'http://127.0.0.1:4/metrics',
    log: '/nowhere/sds-1/sds-1.log',
  })
  t.match(file.processes.at(-1), { name: 'sdc-1', address: 'unix:/nowhere/sdc-1/nbd.sock' })
  t.same(file.devices[0], { id: idOf(20), sds: 'sds-1', faultSet: 'fs-1', path: '/d/sds-1/device-1' })
  t.same(file.volumes, [
    {
      id: idOf(30),
      name: 'vol1',
      sizeBytes: 8 * 2 ** 30,
      sdc: 'sdc-1',
      uri: 'nbd+unix:///vol1?socket=/d/sdc-1/nbd.sock',
      device: null,
    },
    { id: idOf(31), name: 'vol2', sizeBytes: 8 * 2 ** 30, sdc: null, uri: null, device: null },
  ])
})

t.test('exports: they match when every connected SDC has exactly its mapped volumes', async t => {
  const report = makeReport()
  t.ok(exportsMatch(report))
  report.sdcs[0]!.exports = []
  t.notOk(exportsMatch(report))
  report.sdcs[0]!.connected = false
  t.ok(exportsMatch(report), 'nobody waits for an SDC that is away')
})

t.test('health: an MDM that is not well is told by name, one that stands by may be', async t => {
  const problems = (change: (cluster: ReturnType<typeof makeClusterReport>) => void, report = makeReport()) => {
    const cluster = makeClusterReport()
    change(cluster)
    return problemsOf({ ...state, provisioned: true }, report, cluster, all('running'))
  }
  const becomes = (index: number) => (cluster: ReturnType<typeof makeClusterReport>) => {
    Object.assign(cluster.mdms[index]!, { status: 'Not synchronized', detail: 'it has 3 of 9 entries' })
  }
  t.same(
    problems(() => {}),
    [],
  )
  t.same(problems(becomes(1)), ['MDM mdm-2 is not synchronized (it has 3 of 9 entries)'])
  t.same(problems(becomes(3)), [])
  t.match(
    problemsOf(
      { ...state, provisioned: true },
      null,
      { ...makeClusterReport(), state: 'Error', detail: 'no majority' },
      all('running'),
    ),
    ['the MDM cluster: no majority', 'no MDM is master'],
  )
})

t.test('health: while a cluster is made it has to have its members', async t => {
  const { topology } = state
  const made = { ...state, provisioned: false, topology: { ...topology, mdms: 5 as const } }
  t.match(problemsOf(made, makeReport(), makeClusterReport(), all('running')), [/has not 5 members yet/])
})
