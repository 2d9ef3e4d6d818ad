import t from 'tap'
import { topologyDefault } from '../../../src/cli/local/options.js'
import { configTextOf, faultSetOfSds, planCluster, portCountOf } from '../../../src/cli/local/plan.js'
import { loadConfig } from '../../../src/config/load.js'
import { mdmKeys } from '../../../src/config/mdm.js'
import { sdcKeys } from '../../../src/config/sdc.js'
import { sdsKeys } from '../../../src/config/sds.js'

const ports = (count: number) => Array.from({ length: count }, (_, index) => 20_000 + index)

t.test('plan: MDMs, SDSs and SDCs are numbered from 1, and no two listen on one port', async t => {
  const topology = { ...topologyDefault, sdss: 4, sdcs: 2 }
  const state = planCluster('/d', topology, ports(portCountOf(topology)))
  const names = state.processes.map(process => process.name)
  t.same(names, ['mdm-1', 'sds-1', 'sds-2', 'sds-3', 'sds-4', 'sdc-1', 'sdc-2'])
  const used = state.processes.flatMap(({ address, metrics }) => [address?.port, metrics.port]).filter(Boolean)
  t.equal(new Set(used).size, used.length)
  t.equal(used.length, portCountOf(topology))
})

t.test('plan: SDSs are dealt out over the fault sets in turn', async t => {
  const topology = { ...topologyDefault, sdss: 5, faultSets: 3 }
  t.same(
    [1, 2, 3, 4, 5].map(sds => faultSetOfSds(topology, sds)),
    ['fs-1', 'fs-2', 'fs-3', 'fs-1', 'fs-2'],
  )
  t.equal(faultSetOfSds({ ...topology, faultSets: 0 }, 1), null)
})

t.test('plan: the configuration files are what the daemons accept', async t => {
  const state = planCluster('/some dir/#1', { ...topologyDefault }, ports(portCountOf(topologyDefault)))
  const textOf = (name: string) =>
    configTextOf('/some dir/#1', state, state.processes.find(process => process.name === name)!)
  t.match(loadConfig(mdmKeys, textOf('mdm-1'), 'mdm.yaml'), { name: 'mdm-1' })
  const sds = loadConfig(sdsKeys, textOf('sds-2'), 'sds.yaml')
  t.match(sds, { name: 'sds-2', ioMode: 'direct', rmcacheBytes: topologyDefault.rmcacheBytes })
  state.topology.rmcacheBytes = 0
  t.equal(loadConfig(sdsKeys, textOf('sds-2'), 'sds.yaml').rmcacheBytes, 0)
  const text = textOf('sds-2').replace('size: off', 'size: 1 MiB')
  t.throws(() => loadConfig(sdsKeys, text, 'sds.yaml'), {
    message: /rmcache.size.*write off, or a size from 4 MiB to 64 GiB/s,
  })
  t.match(loadConfig(sdcKeys, textOf('sdc-1'), 'sdc.yaml'), { name: 'sdc-1' })
})

t.test('plan: SDSs that share a machine get a CPU each, in turn, and everything else all of them', async t => {
  const state = planCluster('/d', { ...topologyDefault }, ports(portCountOf(topologyDefault)))
  const cpusOf = (cpus: number[]) =>
    state.processes.map(process => {
      const keys = { mdm: mdmKeys, sds: sdsKeys, sdc: sdcKeys }[process.role]
      return [
        process.name,
        (loadConfig(keys, configTextOf('/d', state, process, cpus), 'x') as { cpus?: unknown }).cpus,
      ]
    })
  const others = { 'mdm-1': undefined, 'sdc-1': undefined }
  t.same(Object.fromEntries(cpusOf([2, 5])), { ...others, 'sds-1': [2], 'sds-2': [5], 'sds-3': [2] })
  for (const cpus of [[], [3]])
    t.same(Object.fromEntries(cpusOf(cpus)), { ...others, 'sds-1': null, 'sds-2': null, 'sds-3': null })
})

t.test(
  'plan: of several MDMs one creates the system, the last ones are tie breakers, and all daemons know all',
  async t => {
    for (const [mdms, kinds] of [
      [3, ['manager', 'manager', 'tieBreaker']],
      [5, ['manager', 'manager', 'manager', 'tieBreaker', 'tieBreaker']],
    ] as const) {
      const topology = { ...topologyDefault, mdms }
      const state = planCluster('/d', topology, ports(portCountOf(topology)))
      const configs = (provisioned: boolean) =>
        state.processes
          .filter(({ role }) => role === 'mdm')
          .map(process => loadConfig(mdmKeys, configTextOf('/d', { ...state, provisioned }, process), 'mdm.yaml'))
      t.same(
        configs(false).map(({ kind }) => kind),
        kinds,
      )
      t.same(
        configs(false).map(({ createSystem }) => createSystem),
        kinds.map((_, index) => index === 0),
      )
      t.notOk(
        configs(true).some(({ createSystem }) => createSystem),
        'once there is a system, an MDM on an empty disk waits to be attached',
      )
      for (const name of ['sds-1', 'sdc-1']) {
        const process = state.processes.find(process => process.name === name)!
        const keys = process.role === 'sds' ? sdsKeys : sdcKeys
        t.equal((loadConfig(keys, configTextOf('/d', state, process), 'x.yaml') as { mdm: unknown[] }).mdm.length, mdms)
      }
    }
  },
)

t.test('plan: a directory whose socket path the kernel would not take is refused', async t => {
  const deep = `/${'d'.repeat(100)}`
  t.throws(() => planCluster(deep, topologyDefault, ports(9)), { code: 'BAD_ARGUMENT', message: /shorter path/ })
})
