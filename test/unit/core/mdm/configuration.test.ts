import t from 'tap'
import { type DeviceId, numberOfId, type PoolId, type SystemId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import {
  type Configuration,
  configurationOf,
  type DeviceEvidence,
  type KnownCopy,
  planAcceptance,
} from '../../../../src/core/mdm/index.js'
import type { SliceRecord } from '../../../../src/model/index.js'
import { addSdc, addVolume, type Cluster, cluster, Machine, mapping, noSettlement, opened } from './fixture.js'

/** A system of four SDSs with a mapped volume, and its configuration. */
function exported(): { made: Cluster; configuration: Configuration } {
  const made = cluster([16 * GiB, 16 * GiB, 16 * GiB, 16 * GiB], 16)
  made.machine.do('mapVolume', mapping(addVolume(made, 'v', 8, 'thin'), addSdc(made, 'one')))
  return { made, configuration: configurationOf(made.machine.state) }
}

/** A new MDM, which made a system of its own when it started. */
function newMachine(): Machine {
  const machine = new Machine()
  machine.do('createSystem', { systemId: 'fedcba9876543210' as SystemId, name: 'new' })
  return machine
}

function imported() {
  const { made, configuration } = exported()
  const machine = newMachine()
  machine.do('importConfiguration', { configuration, era: 'era-2' })
  return { ...made, machine, configuration, old: made.machine }
}

const systemOf = ({ state }: Machine) => [...state.map.tables.systems.values()][0]!

/** What a device says that has adopted the records of a table. */
function evidenceOf(deviceId: DeviceId, poolId: PoolId, records: readonly SliceRecord[], volumes: number[] = []) {
  const copies: KnownCopy[] = records.flatMap(({ slice, epoch, primary, secondary, joining }) => {
    const inSync = primary === deviceId || secondary === deviceId
    return inSync || joining === deviceId ? [{ pool: numberOfId(poolId), slice, epoch, inSync }] : []
  })
  return { deviceId, copies, volumes } satisfies DeviceEvidence
}

t.test('import: a new MDM takes the whole configuration and its identity, and stands still', async t => {
  const { machine, configuration, sdss } = imported()
  const { tables, slices } = machine.state.map
  t.same([...tables.systems.keys()], ['0123456789abcdef'])
  t.match(systemOf(machine), { name: 'sys', era: 'era-2', recovery: { why: 'imported' } })
  t.same([...slices], configuration.slices)
  t.same([...tables.volumes.values()], configuration.tables.volumes)
  t.same([...tables.devices.values()], configuration.tables.devices)
  t.ok(
    machine.state.nextNumber > configuration.nextNumber + 60_000,
    'numbers that may have been given out are left out',
  )
  const before = configuration.tables.sdss[0]!
  const after = tables.sdss.get(sdss[0]!)!
  t.ok(after.incarnation > before.incarnation + 1_000_000, 'and incarnations too')
  t.equal(after.processId, '')
  t.match(machine.refused('addProtectionDomain', { name: 'x' }), {
    code: 'CONFIGURATION',
    context: { detail: /stands still.*imported/, remedy: /accept_older_configuration/ },
  })
})

t.test('import: an SDC that came by itself is in nobody’s way; anything made by people is', async t => {
  const { configuration } = exported()
  const machine = newMachine()
  machine.do('registerSdc', { guid: 'g', processId: 'p', name: 'early' })
  machine.do('addProtectionDomain', { name: 'pd1' })
  t.match(machine.refused('importConfiguration', { configuration, era: 'e' }), {
    code: 'IN_USE',
    context: { detail: /only into a new MDM.*protection domain/, name: 'pd1' },
  })
  machine.do('removeProtectionDomain', { id: [...machine.state.map.tables.protectionDomains.keys()][0] as never })
  machine.do('importConfiguration', { configuration, era: 'e' })
  t.same(
    [...machine.state.map.tables.sdcs.values()].map(({ name }) => name),
    ['one'],
  )
})

t.test('import: a configuration that is not sound changes nothing', async t => {
  const { configuration } = exported()
  configuration.slices[0]![1][3]!.secondary = configuration.slices[0]![1][3]!.primary
  t.match(newMachine().refused('importConfiguration', { configuration, era: 'e' }), {
    code: 'BAD_ARGUMENT',
    context: { detail: /not sound: storage pool pool1, slice 3/ },
  })
})

t.test('import: where no device knows more it goes on as it was, and processes register anew', async t => {
  const { machine, configuration, devices, pool, sdss } = imported()
  const records = configuration.slices[0]![1]
  const { command, voided } = planAcceptance(
    machine.state,
    devices.map(id => evidenceOf(id, pool, records)),
  )
  t.same(command.pools, [])
  t.same(voided, { unheard: [], slicesMoved: 0, copiesDropped: 0, slicesUnproven: 0, volumes: [] })
  machine.do('acceptConfiguration', command)
  t.same(systemOf(machine).recovery, undefined)
  t.equal(systemOf(machine).era, 'era-2')
  t.same(machine.slices(pool), records)
  const endpoint = { host: 'h', port: 1000 }
  const registration = { id: sdss[0]!, processId: 'p', endpoint, devices: [], settlement: noSettlement }
  t.equal(machine.do('registerSds', registration).incarnation, configuration.tables.sdss[0]!.incarnation + 2 ** 20 + 1)
})

t.test('an MDM that has gone back in time stands still from the moment that an SDS knows more', async t => {
  const { made } = exported()
  const { machine, devices, sdss, pool } = made
  const epochMax = machine.state.epochHigh.get(pool)! + 5
  const fields = { id: sdss[0]!, processId: 'p9', endpoint: { host: 'h', port: 1000 }, settlement: noSettlement }
  t.match(machine.refused('registerSds', { ...fields, devices: [opened(devices[0]!, { epochMax })] }), {
    code: 'CONFIGURATION',
    context: { detail: /gone back in time: it knows epoch/, remedy: /--accept_older_configuration/ },
  })
  const volumeMax = machine.state.nextNumber
  t.match(machine.refused('registerSds', { ...fields, devices: [opened(devices[0]!, { volumeMax })] }), {
    code: 'CONFIGURATION',
    context: { detail: /it holds volume number/ },
  })
  machine.do('suspectConfiguration', { era: 'e', sds: 'sds-0', detail: 'it knows more' })
  t.match(systemOf(machine), { era: 'e', recovery: { why: 'behind', unknownFrom: volumeMax } })
  for (const { processId } of machine.state.map.tables.sdss.values()) t.equal(processId, '', 'no process is confirmed')
  t.match(machine.refused('changeSlices', { why: 'copies lost', slices: [], failed: [] }), { code: 'CONFIGURATION' })
  t.match(machine.refused('registerSds', { ...fields, devices: [] }), { code: 'CONFIGURATION' })
  machine.do('suspectConfiguration', { era: 'other', sds: 'sds-1', detail: 'it too' })
  t.equal(systemOf(machine).era, 'e', 'once is enough')
})

t.test('accept: who was in sync in the newest record that anybody adopted goes on, above every epoch seen', async t => {
  const { machine, configuration, devices, pool } = imported()
  const records = configuration.slices[0]![1]
  // Since the export: the secondary of slice 0 left, and another device took its place; it was primary for a while.
  const [stale, fresh] = [
    records[0]!.secondary!,
    devices.find(id => id !== records[0]!.primary && id !== records[0]!.secondary)!,
  ]
  const lived = records.map(record =>
    record.slice === 0 ? { ...record, secondary: fresh, epoch: record.epoch + 7 } : record,
  )
  const evidence = devices.map(id => {
    const own = evidenceOf(id, pool, lived, id === fresh ? [4711] : [])
    // The copy that left remembers the last record that it stood in.
    return id === stale ? { ...own, copies: [...own.copies, ...evidenceOf(id, pool, [records[0]!]).copies] } : own
  })
  const { command, voided } = planAcceptance(machine.state, evidence)
  t.match(voided, { unheard: [], slicesMoved: 0, copiesDropped: 1, slicesUnproven: 0, volumes: [4711] })
  machine.do('acceptConfiguration', command)
  const after = machine.slices(pool)
  t.match(after[0], { primary: records[0]!.primary, secondary: fresh, joining: null, left: null })
  for (const record of after) t.ok(record.epoch > records[0]!.epoch + 7, 'above all that were seen')
  t.equal(after[0]!.lossEpoch, after[0]!.epoch, 'nobody knows what was lost under records that are lost')
  t.equal(after[1]!.lossEpoch, 0)
  t.same(
    after.slice(1).map(({ primary, secondary }) => [primary, secondary]),
    records.slice(1).map(({ primary, secondary }) => [primary, secondary]),
  )
  t.ok(machine.state.nextNumber > 4711)
  t.ok(machine.state.epochHigh.get(pool)! > records[0]!.epoch + 7)
})

t.test('accept: a joining copy knows the newest epoch and is no authority', async t => {
  const { machine, configuration, devices, pool } = imported()
  const records = configuration.slices[0]![1]
  const { primary, secondary } = records[0]!
  const lived = records.map(record =>
    record.slice === 0 ? { ...record, primary: secondary!, secondary: null, joining: primary, epoch: 90 } : record,
  )
  const { command, voided } = planAcceptance(
    machine.state,
    devices.map(id => evidenceOf(id, pool, lived)),
  )
  t.match(command.pools[0]!.slices![0], { primary: secondary, secondary: null, joining: null })
  t.match(voided, { slicesMoved: 1, copiesDropped: 1, slicesUnproven: 0 })
  machine.do('acceptConfiguration', command)
})

t.test('accept: what devices that were not heard may know is void, and FLUSH will say so', async t => {
  const { machine, configuration, devices, pool } = imported()
  const records = configuration.slices[0]![1]
  const away = records[0]!.secondary!
  const { command, voided } = planAcceptance(
    machine.state,
    devices.filter(id => id !== away).map(id => evidenceOf(id, pool, records)),
  )
  t.same(voided.unheard, [away])
  const { slices } = command.pools[0]!
  t.match(slices![0], { primary: records[0]!.primary, secondary: null, lossEpoch: slices![0]!.epoch })
  const both = records.find(({ primary, secondary }) => primary !== away && secondary !== away)!
  t.match(slices![both.slice], { primary: both.primary, secondary: both.secondary, lossEpoch: 0 })
  t.equal(voided.slicesUnproven, records.filter(record => evidenceOf(away, pool, [record]).copies.length > 0).length)
  machine.do('acceptConfiguration', command)
})

t.test('accept: plans that do not go above what was known, or break a rule of placement, are refused', async t => {
  const { machine, configuration, pool } = imported()
  const records = configuration.slices[0]![1]
  const accept = (slices: SliceRecord[], epochsFrom = 100) =>
    machine.refused('acceptConfiguration', { numbersFrom: 1, pools: [{ poolId: pool, epochsFrom, slices }] })
  t.match(accept(records), { code: 'PLACEMENT', context: { detail: /above all that were seen/ } })
  const raised = records.map(record => ({ ...record, epoch: 100 }))
  t.match(accept(raised, 0), { code: 'PLACEMENT' })
  t.match(accept(raised.map(record => ({ ...record, secondary: record.primary }))), { code: 'PLACEMENT' })
  t.match(accept(raised.slice(1)), { code: 'PLACEMENT' })
  machine.do('acceptConfiguration', { numbersFrom: 1, pools: [{ poolId: pool, epochsFrom: 100, slices: raised }] })
  t.match(machine.refused('acceptConfiguration', { numbersFrom: 1, pools: [] }), {
    code: 'BAD_ARGUMENT',
    context: { detail: /nothing to accept/ },
  })
})
