import t from 'tap'
import { GiB, MiB } from '../../../../src/base/units.js'
import { deviceFill, freeForVolumesBytes, poolAccounts } from '../../../../src/core/capacity/index.js'
import { addDevice, addSds, addVolume, cluster } from '../mdm/fixture.js'

const accountsOf = (sizesGb: number[], sparePercent: number | null = null) => {
  const made = cluster(sizesGb.map(gb => gb * GiB))
  if (sparePercent !== null) made.machine.do('setSparePercent', { id: made.pool, sparePercent, thinAllocatedBytes: 0 })
  const { rawBytes, spareBytes, usableBytes } = poolAccounts(made.machine.state.map, made.pool)
  return [rawBytes, spareBytes, usableBytes].map(bytes => bytes / GiB)
}

t.test('capacity: 4 equal fault units: the spare is a quarter, half of the rest is usable', async t => {
  t.same(accountsOf([16, 16, 16, 16]), [64, 16, 24])
})

t.test('capacity: the default spare is the largest fault unit', async t => {
  t.same(accountsOf([16, 16, 32]), [64, 32, 16])
})

t.test('capacity: a spare percentage of raw', async t => {
  t.same(accountsOf([16, 16, 16, 16], 10), [64, 6.400390625, 28.7998046875])
  t.same(accountsOf([16, 16, 16, 16], 0), [64, 0, 32])
})

t.test('capacity: never more than placement can use: half of a pool may stand in one unit and no more', async t => {
  t.same(accountsOf([64, 8, 8], 0), [80, 0, 16])
})

t.test('capacity: one fault unit has nothing usable', async t => {
  t.same(accountsOf([16]), [16, 16, 0])
})

t.test('capacity: a device that holds no copies yet adds what the table can really take', async t => {
  const made = cluster([16, 16].map(gb => gb * GiB))
  addVolume(made, 'v', 8, 'thick')
  const before = poolAccounts(made.machine.state.map, made.pool)
  t.equal(before.usableBytes, 8 * GiB)
  addDevice(made, addSds(made, 2), 16 * GiB)
  const after = poolAccounts(made.machine.state.map, made.pool)
  t.equal(after.rawBytes, 48 * GiB)
  t.equal(after.usableBytes, 16 * GiB, 'two devices with a copy of everything')
})

t.test('capacity: free for volumes is rounded down to 8 GB', async t => {
  const accounts = {
    rawBytes: 0,
    spareBytes: 0,
    usableBytes: 31 * GiB,
    thickReservedBytes: 8 * GiB,
    thinProvisionedBytes: 0,
  }
  t.equal(freeForVolumesBytes(accounts, 0), 16 * GiB)
  t.equal(freeForVolumesBytes(accounts, 8 * GiB), 8 * GiB)
  t.equal(freeForVolumesBytes(accounts, 64 * GiB), 0)
})

t.test(
  'device fill: all devices together hold two copies of what is usable, thick chunks apart from thin ones',
  async t => {
    const made = cluster([16, 16, 16, 16].map(gb => gb * GiB))
    addVolume(made, 'thick', 8, 'thick')
    addVolume(made, 'thin', 40, 'thin')
    const fills = made.devices.map(id => deviceFill(made.machine.state.map, id))
    for (const fill of fills) t.same(fill, { thinChunksMax: 8192, thickChunksMax: 4096 })
    t.equal(
      fills.reduce((sum, fill) => sum + fill.thinChunksMax + fill.thickChunksMax, 0),
      (2 * 24 * GiB) / MiB,
    )
  },
)

t.test('device fill: a device without copies takes nothing', async t => {
  const made = cluster([16, 16].map(gb => gb * GiB))
  addVolume(made, 'v', 8, 'thin')
  const idle = addDevice(made, made.sdss[0]!, 16 * GiB)
  t.same(deviceFill(made.machine.state.map, idle), { thinChunksMax: 0, thickChunksMax: 0 })
  t.same(deviceFill(made.machine.state.map, 'ffffffffffffffff'), { thinChunksMax: 0, thickChunksMax: 0 })
})
