import fc from 'fast-check'
import t from 'tap'
import type { DeviceId, SdcId, SystemId, VolumeId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import {
  answeredBefore,
  apply,
  digest,
  emptyState,
  restore,
  type Snapshot,
  snapshotOf,
} from '../../../../src/core/mdm/index.js'
import { applyDelta, emptyMap } from '../../../../src/model/index.js'
import { decode, encode } from '../../../../src/wire/codec.js'
import { addSdc, addVolume, cluster, Machine, mapping, opened, registers } from './fixture.js'

function busyCluster() {
  const made = cluster([16 * GiB, 16 * GiB, 8 * GiB])
  const volume = addVolume(made, 'v', 8, 'thick')
  addVolume(made, 'w', 16, 'thin')
  made.machine.do('mapVolume', mapping(volume, addSdc(made, 'one')))
  registers(made, 0, 'p0-2', [opened(made.devices[0]!, { cleanStop: false })], [])
  return made
}

t.test('replaying the log gives the same digest, from the beginning and from a snapshot', async t => {
  const { machine } = busyCluster()
  const replayed = emptyState()
  let snapshot: Snapshot | null = null
  machine.log.forEach((entry, index) => {
    apply(replayed, index + 1, entry)
    if (index === 10) snapshot = decode(encode(snapshotOf(replayed))) as Snapshot
  })
  t.equal(digest(replayed), digest(machine.state))
  const restored = restore(snapshot!)
  machine.log.slice(11).forEach((entry, index) => {
    apply(restored, 12 + index, entry)
  })
  t.equal(digest(restored), digest(machine.state))
  t.equal(restored.map.version, machine.log.length)
})

t.test('what daemons make of the deltas is the MDM’s map', async t => {
  const { machine } = busyCluster()
  const replayed = emptyState()
  const map = emptyMap()
  machine.log.forEach((entry, index) => {
    applyDelta(map, decode(encode(apply(replayed, index + 1, entry).delta)) as never)
  })
  t.same(map, machine.state.map)
})

t.test('a client that repeats its last number is answered, not served again; older numbers are refused', async t => {
  const machine = new Machine()
  machine.do('createSystem', { systemId: '0123456789abcdef' as SystemId, name: 'sys' })
  const first = machine.tryAs('tool', 7, 'addProtectionDomain', { name: 'a' })
  const before = digest(machine.state)
  t.same(machine.tryAs('tool', 7, 'addProtectionDomain', { name: 'a' }), first)
  t.match(machine.tryAs('tool', 6, 'addProtectionDomain', { name: 'b' }), { error: { code: 'BAD_ARGUMENT' } })
  t.equal(digest(machine.state), before)
  const refusal = machine.tryAs('tool', 8, 'addProtectionDomain', { name: 'a' })
  t.match(refusal, { error: { code: 'ALREADY_EXISTS' } })
  t.same(answeredBefore(machine.state, 'tool', 8), refusal, 'errors are kept too')
  t.equal(answeredBefore(machine.state, 'tool', 9), null)
})

t.test('answers are kept for a bounded number of clients, the longest silent goes first', async t => {
  const machine = new Machine()
  machine.do('createSystem', { systemId: '0123456789abcdef' as SystemId, name: 'sys' })
  for (let client = 0; client < 1100; client++) machine.tryAs(`c${client}`, 1, 'addProtectionDomain', { name: 'a' })
  t.equal(machine.state.answers.size, 1024)
  t.notOk(machine.state.answers.has('c0'))
  t.ok(machine.state.answers.has('c1099'))
})

t.test('decide is total: any command on any state gives changes or an error, and errors change nothing', async t => {
  const ids = fc.integer({ min: 0, max: 40 }).map(number => `01234567${number.toString(16).padStart(8, '0')}`)
  const names = fc.oneof(fc.string({ maxLength: 40 }), fc.constantFrom('a', 'b', 'v', 'pd1', 'pool1'))
  const numbers = fc.oneof(fc.integer({ min: -5, max: 50 }), fc.constantFrom(8 * GiB, 16 * GiB, 1024, Number.NaN))
  const fields = fc.record({
    id: ids,
    protectionDomainId: ids,
    faultSetId: fc.option(ids),
    poolId: ids,
    sdsId: ids,
    volumeId: ids,
    sdcId: ids,
    name: names,
    guid: names,
    processId: names,
    path: names,
    endpoint: fc.record({ host: names, port: numbers }),
    zeroPadding: fc.boolean(),
    sparePercent: fc.option(numbers),
    sliceCount: numbers,
    sizeBytes: numbers,
    capacityBytes: numbers,
    thinAllocatedBytes: numbers,
    incarnation: numbers,
    gracePeriodMs: fc.option(numbers),
    type: fc.constantFrom('thin', 'thick'),
    policy: fc.option(fc.record({ iops: numbers, bandwidthKbPerSecPerGb: numbers })),
    iopsLimit: fc.option(numbers),
    bandwidthLimitKbPerSec: fc.option(numbers),
    allowMultipleMappings: fc.boolean(),
    accessMode: fc.constantFrom('ReadWrite', 'ReadOnly'),
    plan: fc.option(fc.constantFrom({ slices: null }, { slices: [] })),
    settlement: fc.constant({ slices: [], waiting: [] }),
    devices: fc.constant([]),
    slices: fc.array(fc.record({ slice: numbers, epoch: numbers, joining: ids }), { maxLength: 3 }),
  })
  const kinds = fc.constantFrom(
    ...'addProtectionDomain renameProtectionDomain removeProtectionDomain addFaultSet renameFaultSet removeFaultSet'.split(
      ' ',
    ),
    ...'addPool renamePool removePool setZeroPadding setSparePercent setLimitPolicy addSds renameSds removeSds'.split(
      ' ',
    ),
    ...'registerSds settle copiesJoined addDevice deviceReady renameDevice removeDevice addVolume renameVolume'.split(
      ' ',
    ),
    ...'growVolume removeVolume registerSdc renameSdc removeSdc mapVolume unmapVolume setMappingLimits'.split(' '),
    ...'setRebuildPolicy setRebalancePolicy setGracePeriod exitMaintenance'.split(' '),
  )
  fc.assert(
    fc.property(fc.array(fc.tuple(kinds, fields), { maxLength: 30 }), commands => {
      const { machine } = busyCluster()
      for (const [kind, command] of commands) {
        const before = digest(machine.state)
        const answer = machine.try(kind as 'settle', command as never)
        const refused = answer !== null && typeof answer === 'object' && 'error' in answer
        if (refused && digest(machine.state) !== before) throw new Error(`${kind} changed something and failed`)
        for (const records of machine.state.map.slices.values())
          if (records.some(record => record.primary === record.secondary)) throw new Error('two copies in one place')
      }
      const replayed = emptyState()
      machine.log.forEach((entry, index) => {
        apply(replayed, index + 1, entry)
      })
      if (digest(replayed) !== digest(machine.state)) throw new Error('a replay differs')
    }),
    { numRuns: 60, seed: 4 },
  )
  t.pass('held')
})

t.test('ids are used once, also after a snapshot', async t => {
  const made = cluster([16 * GiB, 16 * GiB])
  const id = addVolume(made, 'v', 8, 'thin')
  made.machine.do('removeVolume', { id })
  const restored = restore(decode(encode(snapshotOf(made.machine.state))) as Snapshot)
  t.equal(restored.nextNumber, made.machine.state.nextNumber)
  const next: VolumeId | DeviceId | SdcId = addVolume(made, 'v', 8, 'thin')
  t.not(next, id)
})
