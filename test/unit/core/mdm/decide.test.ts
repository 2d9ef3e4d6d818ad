import t from 'tap'
import type { SystemId, VolumeId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { buildDeviceGrown, digest } from '../../../../src/core/mdm/index.js'
import type { IoPolicy } from '../../../../src/model/index.js'
import {
  addDevice,
  addSdc,
  addSds,
  addVolume,
  cluster,
  four,
  Machine,
  mapping,
  opened,
  registers,
  removeDeviceCommand,
  volumeCommand,
} from './fixture.js'

t.test('names: empty, long, with spaces, not printable or like an id: refused with the rule', async t => {
  const { machine } = four()
  for (const name of ['', 'x'.repeat(32), 'two words', 'tab\t', 'ümlaut', '0123456789ABCDEF']) {
    const error = machine.refused('addProtectionDomain', { name })
    t.equal(error.code, 'BAD_ARGUMENT', JSON.stringify(name))
    t.match(error.context, { detail: /name of a protection domain/, remedy: /1 to 31/ })
  }
  machine.do('addProtectionDomain', { name: `${'x'.repeat(28)}-.!` })
})

t.test('names: unique within their kind; those of pools and fault sets within the protection domain', async t => {
  const { machine, domain } = four()
  const { id: other } = machine.do('addProtectionDomain', { name: 'pd2' })
  t.match(machine.refused('addProtectionDomain', { name: 'pd1' }), { code: 'ALREADY_EXISTS', context: { name: 'pd1' } })
  t.equal(machine.refused('renameProtectionDomain', { id: other, name: 'pd1' }).code, 'ALREADY_EXISTS')
  machine.do('renameProtectionDomain', { id: other, name: 'pd2' })
  t.equal(machine.refused('addFaultSet', { protectionDomainId: domain, name: 'fs-0' }).code, 'ALREADY_EXISTS')
  machine.do('addFaultSet', { protectionDomainId: other, name: 'fs-0' })
})

t.test(
  'a pool whose ready devices are in one fault unit: a volume is refused, with the reason and the remedy',
  async t => {
    const made = cluster([16 * GiB])
    addDevice(made, made.sdss[0]!, 16 * GiB)
    const error = made.machine.refused('addVolume', volumeCommand(made, 'v', 8, 'thin'))
    t.match(error, { code: 'PLACEMENT', context: { pool: 'pool1', faultUnits: 1, remedy: /at least two fault sets/ } })
  },
)

t.test('a device grows, and never shrinks; an empty pool is planned by its new size', async t => {
  const made = four()
  const { machine, pool, devices } = made
  const id = devices[0]!
  const copies = () => machine.slices(pool).filter(({ primary, secondary }) => [primary, secondary].includes(id)).length
  const before = copies()
  const capacity = () => machine.state.map.tables.devices.get(id)!.capacityBytes
  for (const capacityBytes of [8 * GiB, capacity(), 24 * GiB + 1])
    machine.do('deviceGrown', buildDeviceGrown(machine.state, id, capacityBytes))
  t.equal(capacity(), 16 * GiB)
  machine.do('deviceGrown', buildDeviceGrown(machine.state, id, 24 * GiB))
  t.equal(capacity(), 24 * GiB)
  t.ok(copies() > before)
  addVolume(made, 'v', 8, 'thin')
  const table = machine.slices(pool)
  machine.do('deviceGrown', buildDeviceGrown(machine.state, id, 32 * GiB))
  t.equal(machine.slices(pool), table, 'what holds data is moved by joining copies')
})

t.test('policies: ScaleIO’s ranges; null goes back to the default', async t => {
  const { machine, pool } = four()
  const policyOf = () => machine.state.map.tables.pools.get(pool)!.rebuildPolicy
  for (const kind of ['setRebuildPolicy', 'setRebalancePolicy'] as const) {
    const set = (policy: IoPolicy) => ({ id: pool, policy })
    for (const concurrentIos of [0, 21, 1.5])
      t.match(machine.refused(kind, set({ kind: 'limitNumOfConcurrentIos', concurrentIos })), {
        code: 'BAD_ARGUMENT',
        context: { pool: 'pool1', detail: /from 1 to 20/ },
      })
    for (const bandwidthKbPerSec of [1023, 1024 * 1024 + 1])
      t.match(machine.refused(kind, set({ kind: 'favorAppIos', concurrentIos: 1, bandwidthKbPerSec })), {
        context: { detail: /from 1024 to 1048576/ },
      })
    machine.do(kind, set({ kind: 'favorAppIos', concurrentIos: 20, bandwidthKbPerSec: 1024 }))
  }
  t.match(policyOf(), { kind: 'favorAppIos', concurrentIos: 20 })
  machine.do('setRebuildPolicy', { id: pool, policy: null })
  t.equal(policyOf(), undefined)
  t.equal(machine.refused('setGracePeriod', { id: pool, gracePeriodMs: -1 }).code, 'BAD_ARGUMENT')
  machine.do('setGracePeriod', { id: pool, gracePeriodMs: 0 })
  t.equal(machine.state.map.tables.pools.get(pool)!.gracePeriodMs, 0)
})

t.test('maintenance: one SDS at a time, and only where no slice needs it', async t => {
  const made = four()
  const { machine, pool, sdss, devices } = made
  const left = (id: (typeof devices)[number]) => ({
    poolId: pool,
    changes: machine.slices(pool).flatMap(record => {
      if (![record.primary, record.secondary].includes(id)) return []
      const primary = record.primary === id ? record.secondary! : record.primary
      return [
        { replaces: record.epoch, record: { ...record, primary, secondary: null, left: id, epoch: record.epoch + 1 } },
      ]
    }),
  })
  const all = left(devices[0]!)
  const some = { ...all, changes: all.changes.slice(1) }
  t.match(machine.refused('enterMaintenance', { id: sdss[0]!, slices: [some] }), {
    code: 'IN_USE',
    context: { sds: 'sds-0', slices: 1 },
  })
  machine.do('enterMaintenance', { id: sdss[0]!, slices: [all] })
  t.equal(machine.state.map.tables.sdss.get(sdss[0]!)!.maintenance, true)
  t.match(machine.refused('enterMaintenance', { id: sdss[1]!, slices: [] }), { context: { other: 'sds-0' } })
  machine.do('exitMaintenance', { id: sdss[0]! })
  t.equal(machine.state.map.tables.sdss.get(sdss[0]!)!.maintenance, undefined)
  machine.do('exitMaintenance', { id: sdss[0]! })
  t.same(machine.lastChanges, [], 'again: nothing')
})

t.test('zero padding can be changed only while the pool has no devices', async t => {
  const made = four()
  const set = (zeroPadding: boolean) => ({ id: made.pool, zeroPadding })
  t.match(made.machine.refused('setZeroPadding', set(false)), { code: 'IN_USE', context: { pool: 'pool1' } })
  made.machine.do('setZeroPadding', set(true))
  const empty = cluster([])
  empty.machine.do('setZeroPadding', { id: empty.pool, zeroPadding: false })
  t.equal(empty.machine.state.map.tables.pools.get(empty.pool)!.zeroPadding, false)
})

t.test('limits: IOPS are 0 or at least 11, bandwidth is a multiple of 1024 KB/s; left out they stay', async t => {
  const made = four()
  const { machine } = made
  const volumeId = addVolume(made, 'v', 8, 'thin')
  const sdcId = addSdc(made, 'sdc-1')
  const map = mapping(volumeId, sdcId)
  for (const iopsLimit of [1, 10]) t.equal(machine.refused('mapVolume', { ...map, iopsLimit }).code, 'BAD_ARGUMENT')
  t.match(machine.refused('mapVolume', { ...map, bandwidthLimitKbPerSec: 1000 }), {
    context: { volume: 'v', detail: /multiple of 1024/, remedy: /0 for unlimited/ },
  })
  const { id } = machine.do('mapVolume', { ...map, iopsLimit: 11, bandwidthLimitKbPerSec: 2048 })
  machine.do('setMappingLimits', { volumeId, sdcId, iopsLimit: 0 })
  t.match(machine.state.map.tables.mappings.get(id), { iopsLimit: 0, bandwidthLimitKbPerSec: 2048 })
  machine.do('setMappingLimits', { volumeId, sdcId, bandwidthLimitKbPerSec: null })
  t.match(machine.state.map.tables.mappings.get(id), { iopsLimit: 0, bandwidthLimitKbPerSec: null })
  t.equal(machine.refused('setMappingLimits', { volumeId, sdcId, iopsLimit: 5 }).code, 'BAD_ARGUMENT')
  const policy = { iops: 5, bandwidthKbPerSecPerGb: 256 }
  t.equal(machine.refused('setLimitPolicy', { id: made.pool, policy }).code, 'BAD_ARGUMENT')
  machine.do('setLimitPolicy', { id: made.pool, policy: { ...policy, iops: 500 } })
})

t.test('mapping to a second SDC needs allowMultipleMappings; to the same one it is refused', async t => {
  const made = four()
  const { machine } = made
  const volumeId = addVolume(made, 'v', 8, 'thin')
  const [one, two] = [addSdc(made, 'one'), addSdc(made, 'two')]
  const { id: first } = machine.do('mapVolume', mapping(volumeId, one))
  t.match(machine.refused('mapVolume', mapping(volumeId, two)), { code: 'IN_USE', context: { mappedTo: 'one' } })
  t.equal(machine.refused('mapVolume', mapping(volumeId, one)).code, 'ALREADY_EXISTS')
  machine.do('mapVolume', { ...mapping(volumeId, two), allowMultipleMappings: true })
  machine.do('unmapVolume', { volumeId, sdcId: one })
  t.equal(machine.refused('unmapVolume', { volumeId, sdcId: one }).code, 'NOT_FOUND')
  const { id: again } = machine.do('mapVolume', { ...mapping(volumeId, one), allowMultipleMappings: true })
  t.not(again, first, 'the id of a mapping is never used again')
})

t.test('system limits: a 65th device of an SDS and a 65th pool of a domain are refused', async t => {
  const made = cluster([GiB])
  for (let count = 1; count < 64; count++) addDevice(made, made.sdss[0]!, GiB)
  const one = { sdsId: made.sdss[0]!, poolId: made.pool, path: '/one-more', name: null }
  t.match(made.machine.refused('addDevice', one), { code: 'LIMIT_REACHED', context: { have: 64, where: 'sds-0' } })
  const pool = { protectionDomainId: made.domain, zeroPadding: true, sparePercent: null, sliceCount: 16 }
  for (let count = 1; count < 64; count++) made.machine.do('addPool', { ...pool, name: `p${count}` })
  t.equal(made.machine.refused('addPool', { ...pool, name: 'p64' }).code, 'LIMIT_REACHED')
})

t.test('pools: the number of slices is a power of two up to 65,536', async t => {
  const { machine, domain } = cluster([])
  const pool = { protectionDomainId: domain, name: 'p', zeroPadding: true, sparePercent: null }
  for (const sliceCount of [0, 3, 100, 131_072])
    t.equal(machine.refused('addPool', { ...pool, sliceCount }).code, 'BAD_ARGUMENT', String(sliceCount))
  machine.do('addPool', { ...pool, sliceCount: 65_536 })
})

t.test('devices: one path once per SDS; a pool of another domain is refused; too small is refused', async t => {
  const made = four()
  const { machine, sdss, devices } = made
  const { path } = machine.state.map.tables.devices.get(devices[0]!)!
  const add = { sdsId: sdss[0]!, poolId: made.pool, path, name: null }
  t.match(machine.refused('addDevice', add), { code: 'ALREADY_EXISTS', context: { sds: 'sds-0', path } })
  const { id: other } = machine.do('addProtectionDomain', { name: 'pd2' })
  const pooled = { protectionDomainId: other, name: 'p2', zeroPadding: true, sparePercent: null, sliceCount: 16 }
  const { id: poolId } = machine.do('addPool', pooled)
  t.equal(machine.refused('addDevice', { ...add, poolId, path: '/x' }).code, 'BAD_ARGUMENT')
  const { id } = machine.do('addDevice', { ...add, path: '/small' })
  const ready = { id, path: '/small', plan: null }
  t.equal(machine.refused('deviceReady', { ...ready, capacityBytes: 1024 ** 2 }).code, 'BAD_ARGUMENT')
  t.equal(machine.refused('deviceReady', { ...ready, capacityBytes: GiB + 5 }).code, 'BAD_ARGUMENT')
})

t.test('SDSs: an address, a guid and a fault set of the same domain', async t => {
  const { machine, domain } = four()
  const { id: pd2 } = machine.do('addProtectionDomain', { name: 'pd2' })
  const { id: foreign } = machine.do('addFaultSet', { protectionDomainId: pd2, name: 'other' })
  const add = {
    protectionDomainId: domain,
    faultSetId: null,
    name: 'new',
    endpoint: { host: 'h', port: 9 },
    guid: 'new',
  }
  t.equal(machine.refused('addSds', { ...add, endpoint: { host: 'h', port: 1000 } }).code, 'ALREADY_EXISTS')
  t.equal(machine.refused('addSds', { ...add, guid: 'g0' }).code, 'ALREADY_EXISTS')
  t.match(machine.refused('addSds', { ...add, faultSetId: foreign }), { context: { faultSet: 'other', sds: 'new' } })
  machine.do('addSds', add)
})

t.test('objects that do not exist are named in the refusal', async t => {
  const { machine, pool } = four()
  const id = '0123456700000fff' as VolumeId
  t.match(machine.refused('removeVolume', { id }), { code: 'NOT_FOUND', context: { id, detail: /no volume/ } })
  t.equal(machine.refused('createSystem', { systemId: 'f'.repeat(16) as SystemId, name: 'b' }).code, 'ALREADY_EXISTS')
  const fresh = new Machine()
  t.equal(fresh.refused('addProtectionDomain', { name: 'a' }).code, 'NOT_FOUND')
  t.equal(fresh.refused('removePool', { id: pool }).code, 'NOT_FOUND')
})

t.test('placement: an empty pool is planned afresh with every ready device, and epochs never go back', async t => {
  const made = cluster([16 * GiB, 16 * GiB])
  const { machine, pool, devices } = made
  const high = () => Math.max(...machine.slices(pool).map(record => record.epoch))
  t.equal(machine.slices(pool).length, 64)
  const before = high()
  const third = addDevice(made, addSds(made, 2), 16 * GiB)
  t.ok(machine.slices(pool).some(record => [record.primary, record.secondary].includes(third)))
  t.ok(high() > before)
  machine.do('removeDevice', removeDeviceCommand(made, third))
  machine.do('removeDevice', removeDeviceCommand(made, devices[1]!))
  t.equal(machine.slices(pool).length, 0, 'one fault unit cannot hold two copies')
  const last = machine.state.epochHigh.get(pool)!
  addDevice(made, made.sdss[1]!, 16 * GiB)
  t.ok(machine.slices(pool).every(record => record.epoch > last))
})

t.test(
  'placement: with volumes a new device is ready without copies; the first volume afterwards brings it in',
  async t => {
    const made = cluster([16 * GiB, 16 * GiB])
    const { machine, pool } = made
    const volume = addVolume(made, 'v', 8, 'thin')
    const table = structuredClone(machine.slices(pool))
    const third = addDevice(made, addSds(made, 2), 16 * GiB)
    t.same(machine.slices(pool), table)
    t.equal(machine.state.map.tables.devices.get(third)!.state, 'ready')
    machine.do('removeDevice', removeDeviceCommand(made, third))
    const fourth = addDevice(made, made.sdss[2]!, 16 * GiB)
    machine.do('removeVolume', { id: volume })
    addVolume(made, 'w', 8, 'thin')
    t.ok(machine.slices(pool).some(record => [record.primary, record.secondary].includes(fourth)))
  },
)

t.test('placement: a plan that breaks the rules, or was made before another one, is refused', async t => {
  const made = cluster([16 * GiB, 16 * GiB])
  const { machine, pool } = made
  const command = volumeCommand(made, 'v', 8, 'thin')
  const bad = machine.slices(pool).map(record => ({ ...record, epoch: 99, secondary: record.primary }))
  t.equal(machine.refused('addVolume', { ...command, plan: { slices: bad } }).code, 'PLACEMENT')
  t.equal(machine.refused('addVolume', { ...command, plan: { slices: machine.slices(pool) } }).code, 'PLACEMENT')
})

t.test(
  'SDCs: added when they first come, with an acceptable name; each new process gets a higher incarnation',
  async t => {
    const { machine } = four()
    const come = (guid: string, processId: string, name: string) => machine.do('registerSdc', { guid, processId, name })
    const first = come('a', 'p1', 'host one')
    t.equal(machine.state.map.tables.sdcs.get(first.sdcId)!.name, 'host-one')
    t.same(come('a', 'p1', 'host one'), first, 'the same process')
    t.same(machine.lastChanges, [])
    t.same(come('a', 'p2', 'x'), { sdcId: first.sdcId, incarnation: 2 })
    const second = come('b', 'p1', 'host-one')
    t.match(machine.state.map.tables.sdcs.get(second.sdcId)!.name, /^sdc-\d+$/, 'the name is taken')
  },
)

t.test('SDSs: a new process gets a higher incarnation and its devices their new paths', async t => {
  const made = four()
  const { machine, devices, sdss } = made
  const answer = registers(made, 0, 'p0-2', [opened(devices[0]!, { path: '/dev/new' })])
  t.same(answer, { sdsId: sdss[0], incarnation: 2 })
  t.match(machine.state.map.tables.devices.get(devices[0]!), { path: '/dev/new', incarnation: 2 })
  t.same(registers(made, 0, 'p0-2', [opened(devices[0]!)]), answer)
  t.same(machine.lastChanges, [], 'a reconnect of the same process changes nothing')
})

t.test('an SDS whose device knows a higher epoch than the MDM is refused: the MDM has gone back in time', async t => {
  const made = four()
  const { machine, sdss, devices, pool } = made
  const epochMax = machine.state.epochHigh.get(pool)! + 1
  const fields = {
    id: sdss[0]!,
    processId: 'new',
    endpoint: { host: 'h', port: 1000 },
    settlement: { slices: [], waiting: [] },
  }
  const error = machine.refused('registerSds', { ...fields, devices: [opened(devices[0]!, { epochMax })] })
  t.match(error, {
    code: 'CONFIGURATION',
    context: { sds: 'sds-0', detail: /gone back in time: it knows epoch/ },
  })
  machine.do('registerSds', { ...fields, devices: [opened(devices[0]!, { epochMax: epochMax - 1 })] })
})

t.test('copiesJoined: the joining copy is in sync in a new epoch; stale and foreign reports are void', async t => {
  const made = cluster([16 * GiB, 16 * GiB])
  const { machine, pool, sdss, devices } = made
  registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false })])
  const joining = machine.slices(pool).filter(record => record.joining === devices[0])
  t.equal(joining.length, 64, 'every slice has its copy on the device')
  const report = joining.map(({ slice, epoch }) => ({ slice, epoch, joining: devices[0]! }))
  const ask = (fields: Partial<Parameters<typeof machine.do<'copiesJoined'>>[1]>) =>
    machine.do('copiesJoined', { sdsId: sdss[1]!, incarnation: 1, poolId: pool, slices: report, ...fields })
  t.same(ask({ incarnation: 0 }), { joined: 0 }, 'another process of the SDS')
  t.same(ask({ sdsId: sdss[0]!, incarnation: 2 }), { joined: 0 }, 'not the primary')
  t.same(ask({ slices: report.map(one => ({ ...one, epoch: one.epoch - 1 })) }), { joined: 0 }, 'an older epoch')
  t.same(ask({ slices: [...report.slice(0, 10), ...report.slice(0, 10)] }), { joined: 10 })
  t.same(ask({}), { joined: 54 }, 'those that had joined have moved on')
  for (const record of machine.slices(pool))
    t.match(record, { primary: devices[1], secondary: devices[0], joining: null })
})

t.test('digest: independent of the order of the tables, and of the log index', async t => {
  const one = new Machine()
  one.do('createSystem', { systemId: '0123456789abcdef' as SystemId, name: 'sys' })
  const before = digest(one.state)
  one.refused('addProtectionDomain', { name: '' })
  t.equal(digest(one.state), before)
  one.do('addProtectionDomain', { name: 'a' })
  t.not(digest(one.state), before)
})
