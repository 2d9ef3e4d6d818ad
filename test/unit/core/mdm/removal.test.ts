import t from 'tap'
import type { DeviceId, FaultSetId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { addSdc, addVolume, cluster, four, mapping, removeDeviceCommand } from './fixture.js'

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
