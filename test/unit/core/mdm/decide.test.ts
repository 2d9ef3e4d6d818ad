import t from 'tap'
import type { DeviceId, FaultSetId, SystemId, VolumeId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { buildDeviceGrown, digest } from '../../../../src/core/mdm/index.js'
import type { IoPolicy } from '../../../../src/model/index.js'
import {
  addDevice,
  addSdc,
  addSds,
  addVolume,
  type Cluster,
  cluster,
  Machine,
  mapping,
  opened,
  registers,
  removeDeviceCommand,
  volumeCommand,
} from './fixture.js'

const four = (): Cluster => cluster([16, 16, 16, 16].map(gb => gb * GiB))

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

t.test(
  'capacity: 4 equal fault sets of 16 GiB: three 8 GB thick volumes fit, the fourth would eat the spare',
  async t => {
    const made = four()
    for (const name of ['a', 'b', 'c']) addVolume(made, name, 8, 'thick')
    const error = made.machine.refused('addVolume', volumeCommand(made, 'd', 8, 'thick'))
    t.match(error, { code: 'CAPACITY', context: { volume: 'd', usable: '24 GiB', spare: '16 GiB', taken: '24 GiB' } })
    t.equal(made.machine.refused('addVolume', volumeCommand(made, 'd', 8, 'thin')).code, 'CAPACITY', 'nothing is free')
  },
)

t.test('capacity: what is written to thin volumes counts against thick ones', async t => {
  const made = four()
  addVolume(made, 'a', 16, 'thick')
  t.equal(made.machine.refused('addVolume', volumeCommand(made, 'b', 8, 'thick', 1)).code, 'CAPACITY')
  addVolume(made, 'b', 8, 'thick', 0)
})

t.test('capacity: thin volumes may promise ten times the usable capacity', async t => {
  const made = four()
  const id = addVolume(made, 'a', 240, 'thin')
  t.match(made.machine.refused('addVolume', volumeCommand(made, 'b', 8, 'thin')), { context: { detail: /10 times/ } })
  const grow = { id, sizeBytes: 248 * GiB, thinAllocatedBytes: 0 }
  t.equal(made.machine.refused('growVolume', grow).code, 'CAPACITY')
})

t.test('capacity: growing a thick volume is refused beyond the line, and reserves up to it', async t => {
  const made = four()
  const id = addVolume(made, 'a', 8, 'thick')
  t.equal(made.machine.refused('growVolume', { id, sizeBytes: 32 * GiB, thinAllocatedBytes: 0 }).code, 'CAPACITY')
  made.machine.do('growVolume', { id, sizeBytes: 24 * GiB, thinAllocatedBytes: 0 })
  t.equal(made.machine.refused('addVolume', volumeCommand(made, 'b', 8, 'thick')).code, 'CAPACITY')
})

t.test('capacity: a spare percentage that leaves less than the volumes take is refused', async t => {
  const made = four()
  addVolume(made, 'a', 24, 'thick')
  const set = (sparePercent: number | null) => ({ id: made.pool, sparePercent, thinAllocatedBytes: 0 })
  t.equal(made.machine.refused('setSparePercent', set(26)).code, 'CAPACITY')
  for (const bad of [-1, 99.5, 100, Number.NaN])
    t.equal(made.machine.refused('setSparePercent', set(bad)).code, 'BAD_ARGUMENT', String(bad))
  made.machine.do('setSparePercent', set(10))
})

t.test(
  'sizes: not a multiple of 8 GB, zero, beyond 1 PB, or smaller than before: refused with the size to take',
  async t => {
    const made = four()
    for (const gb of [0, 1, 12, 8.5, 1048584])
      t.match(made.machine.refused('addVolume', volumeCommand(made, 'v', gb, 'thin')), {
        code: 'BAD_ARGUMENT',
        context: { volume: 'v', detail: /multiple of 8 GB/, remedy: /take \d+ GB/ },
      })
    const id = addVolume(made, 'v', 16, 'thin')
    const grow = (gb: number) => ({ id, sizeBytes: gb * GiB, thinAllocatedBytes: 0 })
    t.match(made.machine.refused('growVolume', grow(8)), { code: 'BAD_ARGUMENT', context: { detail: /cannot shrink/ } })
    t.equal(made.machine.refused('growVolume', grow(20)).code, 'BAD_ARGUMENT')
    made.machine.do('growVolume', grow(16))
    t.same(made.machine.lastChanges, [], 'the size that it has changes nothing')
  },
)

t.test('removal: what is mapped or not empty stays', async t => {
  const made = four()
  const { machine, domain, pool, sdss, devices } = made
  const volumeId = addVolume(made, 'v', 8, 'thin')
  const sdcId = addSdc(made, 'sdc-1')
  machine.do('mapVolume', mapping(volumeId, sdcId))
  t.match(machine.refused('removeVolume', { id: volumeId }), { code: 'IN_USE', context: { volume: 'v', sdc: 'sdc-1' } })
  t.equal(machine.refused('removeSdc', { id: sdcId }).code, 'IN_USE')
  t.equal(machine.refused('removePool', { id: pool }).code, 'IN_USE')
  t.equal(machine.refused('removeProtectionDomain', { id: domain }).code, 'IN_USE')
  const faultSetId = machine.state.map.tables.sdss.get(sdss[0]!)!.faultSetId as FaultSetId
  t.equal(machine.refused('removeFaultSet', { id: faultSetId }).code, 'IN_USE')
  machine.do('unmapVolume', { volumeId, sdcId: null })
  machine.do('removeVolume', { id: volumeId })
  for (const id of devices) machine.do('removeDevice', removeDeviceCommand(made, id))
  machine.do('removePool', { id: pool })
  for (const id of sdss) t.same(machine.do('removeSds', { id, thinAllocated: [] }), { removed: true })
  for (const id of machine.state.map.tables.faultSets.keys()) machine.do('removeFaultSet', { id: id as FaultSetId })
  machine.do('removeProtectionDomain', { id: domain })
  machine.do('removeSdc', { id: sdcId })
  const { map } = machine.state
  t.equal(map.slices.size, 0)
  for (const [name, table] of Object.entries(map.tables)) t.equal(table.size, name === 'systems' ? 1 : 0, name)
})

t.test(
  'removal of a device that holds copies: refused where the pool cannot do without, else drained first',
  async t => {
    const made = four()
    const { machine, pool, devices } = made
    const remove = (id: (typeof devices)[number]) => removeDeviceCommand(made, id)
    const volume = addVolume(made, 'v', 8, 'thick')
    const before = machine.slices(pool)
    t.same(machine.do('removeDevice', remove(devices[3]!)), { removed: false })
    t.equal(machine.state.map.tables.devices.get(devices[3]!)!.state, 'removing')
    t.equal(machine.slices(pool), before, 'its copies stand')
    t.same(machine.do('removeDevice', remove(devices[3]!)), { removed: false }, 'asked again: as before')
    t.same(machine.lastChanges, [])

    const moved = before.map(record => {
      const { slice, primary, secondary } = record
      if (![primary, secondary].includes(devices[3]!)) return record
      const stays = primary === devices[3] ? secondary! : primary
      const epoch = record.epoch + 1
      return { ...record, slice, epoch, primary: stays, secondary: devices.find(id => id !== stays)!, left: null }
    })
    machine.state.map.slices.set(pool, moved)
    t.same(machine.do('removeDevice', remove(devices[3]!)), { removed: true }, 'it holds nothing any more')
    addVolume(made, 'w', 8, 'thick')
    t.match(machine.refused('removeDevice', remove(devices[2]!)), {
      code: 'CAPACITY',
      context: { pool: 'pool1', remedy: /add devices/ },
    })
    machine.do('removeVolume', { id: volume })
  },
)

t.test('removal of an SDS with devices: all are drained, and it goes with the last', async t => {
  const made = four()
  const { machine, sdss, devices, pool } = made
  addVolume(made, 'v', 8, 'thin')
  const remove = { id: sdss[0]!, thinAllocated: [] }
  t.same(machine.do('removeSds', remove), { removed: false })
  t.equal(machine.state.map.tables.sdss.get(sdss[0]!)!.removing, true)
  t.equal(machine.state.map.tables.devices.get(devices[0]!)!.state, 'removing')
  t.same(machine.do('removeSds', remove), { removed: false })
  t.same(machine.lastChanges, [])
  const add = { sdsId: sdss[0]!, poolId: pool, path: '/new', name: null }
  t.match(machine.refused('addDevice', add), { code: 'IN_USE', context: { sds: 'sds-0' } })
})

t.test('removal that would leave one fault unit is refused while the pool has volumes', async t => {
  const made = cluster([16 * GiB, 16 * GiB])
  addVolume(made, 'v', 8, 'thin')
  const { machine, sdss, devices } = made
  t.equal(machine.refused('removeDevice', removeDeviceCommand(made, devices[0]!)).code, 'PLACEMENT')
  t.equal(machine.refused('removeSds', { id: sdss[0]!, thinAllocated: [] }).code, 'PLACEMENT')
})

t.test('nor is a device removed then that is only away, or in maintenance, unless it has failed', async t => {
  const made = cluster([16 * GiB, 16 * GiB])
  addVolume(made, 'v', 8, 'thin')
  const { machine, pool, devices } = made
  const left = devices[0]!
  const alone = machine.slices(pool).map(record => ({ ...record, primary: devices[1]!, secondary: null, left }))
  machine.state.map.slices.set(pool, alone)
  t.equal(machine.refused('removeDevice', removeDeviceCommand(made, left)).code, 'PLACEMENT')
  const device = machine.state.map.tables.devices.get(left)!
  machine.state.map.tables.devices.set(left, { ...device, state: 'failed' })
  t.same(machine.do('removeDevice', removeDeviceCommand(made, left)), { removed: true })
})

t.test('a device that goes is nobody’s copy that left any more', async t => {
  const made = four()
  const { machine, pool, devices } = made
  addVolume(made, 'v', 8, 'thin')
  const table = machine.slices(pool).map(record => {
    const { primary, secondary } = record
    const other = primary === devices[0] ? secondary! : primary
    return [primary, secondary].includes(devices[0]!)
      ? { ...record, primary: other, secondary: null, left: devices[0]! }
      : record
  })
  machine.state.map.slices.set(pool, table)
  const high = machine.state.epochHigh.get(pool)!
  t.same(machine.do('removeDevice', removeDeviceCommand(made, devices[0]!)), { removed: true })
  t.ok(machine.slices(pool).every(({ left = null }) => left === null))
  t.ok(machine.slices(pool).some(({ secondary, epoch }) => secondary === null && epoch > high))
})

t.test('a failed device begins anew only where no slice names it, and nobody waits for its marks then', async t => {
  const made = four()
  const { machine, pool, devices } = made
  addVolume(made, 'v', 8, 'thin')
  const [id] = devices as [DeviceId]
  t.equal(machine.refused('abandonDevice', { id }).code, 'BAD_ARGUMENT', 'it has not failed')
  const device = machine.state.map.tables.devices.get(id)!
  machine.state.map.tables.devices.set(id, { ...device, state: 'failed' })
  t.match(machine.refused('abandonDevice', { id }), { code: 'IN_USE' }, 'it may hold the only copy of something')
  const table = machine.slices(pool).map(record => {
    const { primary, secondary } = record
    const other = primary === id ? secondary! : primary
    return [primary, secondary].includes(id) ? { ...record, primary: other, secondary: null, left: id } : record
  })
  machine.state.map.slices.set(pool, table)
  machine.do('abandonDevice', { id })
  t.ok(machine.slices(pool).every(({ left = null }) => left !== id))
  t.equal(machine.state.map.tables.devices.get(id)!.state, 'failed', 'not before it is empty')
  machine.do('deviceCleared', { id, capacityBytes: 32 * GiB, path: '/dev/anew' })
  t.match(machine.state.map.tables.devices.get(id), { state: 'ready', capacityBytes: 32 * GiB, path: '/dev/anew' })
  t.equal(machine.refused('deviceCleared', { id, capacityBytes: GiB, path: '/' }).code, 'BAD_ARGUMENT')
})

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
