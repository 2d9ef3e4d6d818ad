import t from 'tap'
import type { DeviceId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { missingDevices, settle } from '../../../../src/core/slices/index.js'
import { addVolume, cluster, opened, registers } from '../mdm/fixture.js'

const three = () => cluster([16 * GiB, 16 * GiB, 16 * GiB])

t.test('coming back: an unclean SDS: its slices go on from the others, it joins; the rest is untouched', async t => {
  const made = three()
  const { machine, pool, devices } = made
  addVolume(made, 'v', 8, 'thin')
  const before = [...machine.slices(pool)]
  registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false, epochMax: 2 })])
  machine.slices(pool).forEach((record, slice) => {
    const old = before[slice]!
    if (old.primary !== devices[0] && old.secondary !== devices[0]) {
      t.equal(record, old)
      return
    }
    const other = old.primary === devices[0] ? old.secondary : old.primary
    t.match(record, { primary: other, secondary: null, joining: devices[0], lossEpoch: 0 })
    t.ok(record.epoch > old.epoch)
  })
})

t.test('coming back: a clean SDS: nothing changes but incarnation and paths', async t => {
  const made = three()
  const before = [...made.machine.slices(made.pool)]
  registers(made, 0, 'p0-2', [opened(made.devices[0]!)])
  t.same(
    made.machine.lastChanges.map(change => change.kind),
    ['put', 'put'],
  )
  t.same(made.machine.slices(made.pool), before)
})

t.test('coming back: everybody lost power: slices wait until both sides are back, then go on with a loss', async t => {
  const made = three()
  const { machine, pool, devices } = made
  const lost = { cleanStop: false, sameBoot: false }
  registers(made, 0, 'p0-2', [opened(devices[0]!, lost)], [])
  const waiting = () => machine.state.map.tables.devices.get(devices[0]!)!.waiting
  const mine = machine.slices(pool).filter(({ primary, secondary }) => [primary, secondary].includes(devices[0]!))
  t.equal(waiting()!.slices.length, mine.length)
  t.equal(waiting()!.sameBoot, false)
  t.ok(
    machine.slices(pool).every(({ epoch, joining }) => epoch === mine[0]!.epoch && joining === null),
    'records stand',
  )

  registers(made, 1, 'p1-2', [opened(devices[1]!, lost)], [devices[0]!])
  const shared = machine.slices(pool).filter(record => record.joining !== null)
  t.ok(shared.length > 0)
  for (const record of shared) {
    t.same([record.primary, record.joining].sort(), [devices[0], devices[1]].sort())
    t.equal(record.lossEpoch, record.epoch)
  }
  t.equal(waiting()!.slices.length, mine.length - shared.length)
  registers(made, 2, 'p2-2', [opened(devices[2]!, lost)], [devices[0]!, devices[1]!])
  t.equal(waiting(), undefined)
  t.ok(machine.slices(pool).every(record => record.joining !== null && record.lossEpoch === record.epoch))
})

t.test('coming back: a copy that waited is not made whole by stopping cleanly', async t => {
  const made = three()
  const { machine, devices, pool } = made
  registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false, sameBoot: false })], [])
  registers(made, 0, 'p0-3', [opened(devices[0]!)], [])
  t.ok(machine.state.map.tables.devices.get(devices[0]!)!.waiting!.slices.length > 0)
  t.equal(machine.state.map.tables.devices.get(devices[0]!)!.waiting!.sameBoot, false)
  registers(made, 1, 'p1-2', [opened(devices[1]!)], [devices[0]!])
  for (const record of machine.slices(pool))
    if (record.joining !== null) t.match(record, { primary: devices[1], joining: devices[0], lossEpoch: 0 })
})

t.test(
  'coming back: the other side was only disconnected: when it is back, it goes on and the waiting copy joins',
  async t => {
    const made = three()
    const { machine, devices } = made
    registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false })], [])
    const { map, epochHigh } = machine.state
    const facts = { map, epochHigh, returned: [], isGraceOver: () => false }
    t.same(
      settle({ ...facts, isPresent: id => id === devices[0] }),
      { slices: [], waiting: [] },
      'nobody else is there',
    )
    const settlement = settle({ ...facts, isPresent: () => true })
    machine.do('settle', { settlement })
    t.equal(machine.state.map.tables.devices.get(devices[0]!)!.waiting, undefined)
    t.ok(settlement.slices[0]!.changes.every(({ record }) => record.joining === devices[0]))
  },
)

t.test('coming back: the copy that joins starts over, and the one that waits waits on while it is away', async t => {
  const made = three()
  const { machine, devices, pool } = made
  const [first, second, third] = devices as [DeviceId, DeviceId, DeviceId]
  const pair = machine.slices(pool).find(({ primary, secondary }) => primary === first && secondary === second)!
  const moving = { replaces: pair.epoch, record: { ...pair, epoch: pair.epoch + 1, joining: third } }
  machine.do('changeSlices', { why: 'rebalance', slices: [{ poolId: pool, changes: [moving] }], failed: [] })
  const lost = { cleanStop: false, sameBoot: false }

  registers(made, 1, 'p1-2', [opened(second, lost)], [])
  registers(made, 2, 'p2-2', [opened(third, lost)], [])
  const startedOver = machine.slices(pool)[pair.slice]!
  t.match(startedOver, { primary: first, secondary: second, joining: third })
  t.ok(startedOver.epoch > moving.record.epoch)
  t.match(machine.state.map.tables.devices.get(second), { waiting: { sameBoot: false } })
  t.ok(machine.state.map.tables.devices.get(second)!.waiting!.slices.includes(pair.slice))

  registers(made, 0, 'p0-2', [opened(first, lost)], devices)
  const decided = machine.slices(pool)[pair.slice]!
  t.match(decided, { primary: first, secondary: null, joining: second, lossEpoch: decided.epoch }, 'both lost power')
})

t.test('coming back: a settlement whose slices have moved on meanwhile is void', async t => {
  const made = three()
  const { machine, devices, pool } = made
  registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false })], [])
  const { map, epochHigh } = machine.state
  const settlement = settle({ map, epochHigh, returned: [], isPresent: () => true, isGraceOver: () => false })
  machine.do('settle', { settlement })
  const before = structuredClone(machine.slices(pool))
  machine.do('settle', { settlement })
  t.same(machine.slices(pool), before)
})

t.test('coming back: a device found only later by the same process is decided then', async t => {
  const made = three()
  const { machine, devices, pool, sdss } = made
  registers(made, 0, 'p0-2', [])
  t.same(
    missingDevices(machine.state.map, sdss[0]!, []).map(({ id }) => id),
    [devices[0]],
  )
  const before = [...machine.slices(pool)]
  t.same(machine.slices(pool), before, 'its slices wait as they are')
  const answer = registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false })])
  t.equal(answer.incarnation, 2)
  t.ok(machine.slices(pool).some(record => record.joining === devices[0]))
  const after = [...machine.slices(pool)]
  registers(made, 0, 'p0-2', [opened(devices[0]!, { cleanStop: false })])
  t.same(machine.slices(pool), after, 'and once only')
})
