import fc from 'fast-check'
import t from 'tap'
import type { DeviceId, SdsId } from '../../../../src/base/ids.js'
import { GiB, MiB } from '../../../../src/base/units.js'
import { checkSlices, type PlacementDevice, planSlices } from '../../../../src/core/placement/index.js'
import type { SliceRecord } from '../../../../src/model/index.js'

const device = (unit: number, index: number, capacityBytes: number): PlacementDevice => ({
  deviceId: `d${String(unit).padStart(4, '0')}-${index}` as DeviceId,
  sdsId: `s${unit}` as SdsId,
  faultUnit: `u${unit}`,
  capacityBytes,
})

const grid = (units: number, perUnit: number, capacityBytes = 16 * GiB): PlacementDevice[] =>
  Array.from({ length: units * perUnit }, (_, i) => device(i % units, Math.floor(i / units), capacityBytes))

/** Pools of 2 to 12 fault units with 1 to 5 devices each, of 1 to 64 GiB. */
const pools = fc
  .array(fc.array(fc.integer({ min: 1024, max: 65536 }), { minLength: 1, maxLength: 5 }), {
    minLength: 2,
    maxLength: 12,
  })
  .map(units => units.flatMap((sizes, unit) => sizes.map((mib, index) => device(unit, index, mib * MiB))))
const sliceCounts = fc.integer({ min: 4, max: 10 }).map(power => 2 ** power)

const countsOf = (records: SliceRecord[], pick: (r: SliceRecord) => (string | null)[]): Map<string, number> => {
  const counts = new Map<string, number>()
  for (const record of records) for (const id of pick(record)) if (id) counts.set(id, (counts.get(id) ?? 0) + 1)
  return counts
}
const copiesOf = (records: SliceRecord[]) => countsOf(records, r => [r.primary, r.secondary])
const primariesOf = (records: SliceRecord[]) => countsOf(records, r => [r.primary])

/** What a device should hold, with the unit that has more than half of everything capped at one copy of each slice. */
function idealOf(devices: PlacementDevice[], sliceCount: number): Map<string, number> {
  const total = devices.reduce((sum, d) => sum + d.capacityBytes, 0)
  const units = new Map<string, number>()
  for (const d of devices) units.set(d.faultUnit, (units.get(d.faultUnit) ?? 0) + d.capacityBytes)
  const capped = [...units].find(([, bytes]) => bytes * 2 > total)
  return new Map(
    devices.map(d => {
      if (!capped) return [d.deviceId, (2 * sliceCount * d.capacityBytes) / total]
      const among = d.faultUnit === capped[0] ? capped[1] : total - capped[1]
      return [d.deviceId, (sliceCount * d.capacityBytes) / among]
    }),
  )
}

const movedBetween = (before: SliceRecord[], after: SliceRecord[]): number =>
  after.reduce((moved, record, slice) => {
    const old = [before[slice]!.primary, before[slice]!.secondary]
    return moved + [record.primary, record.secondary].filter(id => !old.includes(id)).length
  }, 0)

t.test(
  'placement: any pool: no slice has both copies in one fault unit, shares are within one of the ideal',
  async t => {
    fc.assert(
      fc.property(pools, sliceCounts, (devices, sliceCount) => {
        const records = planSlices(devices, sliceCount, null)
        checkSlices(devices, sliceCount, records)
        const copies = copiesOf(records)
        const ideal = idealOf(devices, sliceCount)
        for (const d of devices) {
          const off = Math.abs((copies.get(d.deviceId) ?? 0) - ideal.get(d.deviceId)!)
          if (off >= 1.000001) throw new Error(`${d.deviceId} is ${off} off its share`)
        }
      }),
      { numRuns: 150, seed: 1 },
    )
    t.pass('held')
  },
)

t.test('placement: any pool: every device is primary for half of its copies, give or take two', async t => {
  fc.assert(
    fc.property(pools, sliceCounts, (devices, sliceCount) => {
      const records = planSlices(devices, sliceCount, null)
      const primaries = primariesOf(records)
      for (const [id, copies] of copiesOf(records)) {
        const off = Math.abs((primaries.get(id) ?? 0) - copies / 2)
        if (off > 2) throw new Error(`${id}: ${off} from half of ${copies}`)
      }
    }),
    { numRuns: 150, seed: 2 },
  )
  t.pass('held')
})

t.test('placement: the same input in another order gives the same table', async t => {
  const devices = grid(5, 3)
  t.same(planSlices([...devices].reverse(), 256, null), planSlices(devices, 256, null))
})

for (const [units, perUnit] of [
  [3, 1],
  [4, 2],
  [6, 3],
  [10, 1],
] as const)
  t.test(
    `placement: ${units} equal units of ${perUnit} devices: partners are spread evenly over all other units`,
    async t => {
      const devices = grid(units, perUnit)
      const records = planSlices(devices, 1024, null)
      const unitOf = new Map(devices.map(d => [d.deviceId as string, d.faultUnit]))
      const partners = new Map<string, number>()
      for (const { primary, secondary } of records)
        for (const [one, two] of [
          [primary, secondary!],
          [secondary!, primary],
        ] as const) {
          const key = `${one}>${unitOf.get(two)}`
          partners.set(key, (partners.get(key) ?? 0) + 1)
        }
      const ideal = 2048 / devices.length / (units - 1)
      t.equal(partners.size, devices.length * (units - 1), 'every device has partners in every other unit')
      for (const [key, count] of partners) t.ok(Math.abs(count - ideal) <= Math.max(2, ideal * 0.1), `${key} ${count}`)
    },
  )

t.test('placement: a fault unit with more than half of the capacity holds one copy of everything', async t => {
  const devices = [device(0, 0, 64 * GiB), device(1, 0, 16 * GiB), device(2, 0, 8 * GiB)]
  const copies = copiesOf(planSlices(devices, 96, null))
  t.same(Object.fromEntries(copies), { 'd0000-0': 96, 'd0001-0': 64, 'd0002-0': 32 })
})

t.test('placement: fewer than two fault units are refused, with the reason', async t => {
  t.throws(() => planSlices([device(0, 0, GiB), device(0, 1, GiB)], 16, null), {
    code: 'PLACEMENT',
    message: /fewer than two fault units.*add devices/,
  })
  t.throws(() => planSlices([], 16, null), { code: 'PLACEMENT' })
})

t.test(
  'placement: adding or removing a device moves only about its share, and the result is as good as new',
  async t => {
    fc.assert(
      fc.property(pools, sliceCounts, fc.nat(), (devices, sliceCount, pick) => {
        const before = planSlices(devices, sliceCount, null)
        const gone = devices[pick % devices.length]!
        const rest = devices.filter(d => d !== gone)
        if (new Set(rest.map(d => d.faultUnit)).size < 2) return
        const old = idealOf(devices, sliceCount)
        for (const [from, to, start] of [
          [devices, rest, before],
          [rest, devices, planSlices(rest, sliceCount, null)],
        ] as const) {
          const after = planSlices(to, sliceCount, start)
          checkSlices(to, sliceCount, after)
          const want = idealOf(to, sliceCount)
          const have = from === devices ? old : idealOf(from, sliceCount)
          let least = 0
          for (const d of to) least += Math.max(0, want.get(d.deviceId)! - (have.get(d.deviceId) ?? 0))
          const moved = movedBetween(start, after)
          // Rounding may cost one copy per device; a copy that stands in the way of the rule about units, one more.
          const allowed = least + devices.length + 0.1 * sliceCount
          if (moved > allowed) throw new Error(`moved ${moved}, the shares demand ${least}`)
          const copies = copiesOf(after)
          for (const d of to)
            if (Math.abs((copies.get(d.deviceId) ?? 0) - want.get(d.deviceId)!) >= 1.000001)
              throw new Error(`${d.deviceId} is off its share`)
        }
      }),
      { numRuns: 150, seed: 3 },
    )
    t.pass('held')
  },
)

t.test('placement: one more unit beside 9 equal ones takes its tenth and no more, from all', async t => {
  const before = planSlices(grid(9, 2), 1024, null)
  const devices = grid(10, 2)
  const after = planSlices(devices, 1024, before)
  t.ok(movedBetween(before, after) <= 205 + 20, 'about a tenth of 2048 copies')
  t.ok(
    after.every((r, i) => (r === before[i] ? true : r.epoch === before[i]!.epoch + 1)),
    'changed slices get a new epoch',
  )
})

t.test('placement: nothing to change: the table stays, object for object', async t => {
  const devices = grid(4, 2)
  const before = planSlices(devices, 512, null)
  t.ok(planSlices(devices, 512, before).every((record, slice) => record === before[slice]))
})

t.test('placement: 65,536 slices and 1,000 devices are planned within seconds', async t => {
  const devices = Array.from({ length: 1000 }, (_, i) =>
    device(i % 100, Math.floor(i / 100), (1 + (i % 7)) * 100 * GiB),
  )
  const before = planSlices(devices, 65536, null)
  checkSlices(devices, 65536, before)
  const after = planSlices(devices.slice(1), 65536, before)
  t.ok(movedBetween(before, after) < 4 * (131072 / 1000))
})
