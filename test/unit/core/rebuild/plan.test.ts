import t, { type Test } from 'tap'
import type { DeviceId, PoolId } from '../../../../src/base/ids.js'
import { GiB } from '../../../../src/base/units.js'
import { planSlices, readyDevices } from '../../../../src/core/placement/index.js'
import {
  type FillFacts,
  type FillPlan,
  fillsPerDevice,
  planFills,
  type Wish,
  wishFor,
} from '../../../../src/core/rebuild/index.js'
import { checkTransition, type SliceChange } from '../../../../src/core/slices/index.js'
import { type ClusterMap, copiesOf, emptyMap, faultUnitOf, type SliceRecord } from '../../../../src/model/index.js'

const pool = '00000000000000ff' as PoolId
const deviceAt = (index: number) => `00000000000001${index.toString(16).padStart(2, '0')}` as DeviceId

/** A pool of `count` devices, each on an SDS of its own, and what is true of them. */
class Scene {
  readonly map: ClusterMap = emptyMap()
  readonly away = new Set<DeviceId>()
  readonly full = new Set<DeviceId>()
  readonly fullSlices = new Set<string>()
  readonly outOfReach = new Set<DeviceId>()
  missingMs = 0
  chunksPerSlice = 8
  freeChunks = 10_000
  #wish: Wish | null = null

  constructor(count: number, sliceCount = 64) {
    this.map.tables.pools.set(pool, { id: pool, name: 'pool1', sliceCount } as never)
    for (let index = 0; index < count; index++) this.add(index)
    const devices = readyDevices(this.map, pool)
    this.map.slices.set(pool, planSlices(devices, sliceCount, null))
  }

  add(index: number): DeviceId {
    const id = deviceAt(index)
    const sdsId = `sds-${index}`
    this.map.tables.sdss.set(sdsId, { id: sdsId, faultSetId: null } as never)
    this.map.tables.devices.set(id, { id, sdsId, poolId: pool, state: 'ready', capacityBytes: 16 * GiB } as never)
    return id
  }

  setState(id: DeviceId, state: 'ready' | 'removing' | 'failed'): void {
    this.map.tables.devices.set(id, { ...this.map.tables.devices.get(id)!, state })
  }

  get records(): SliceRecord[] {
    return this.map.slices.get(pool)!
  }

  /** Its copies have left everywhere. */
  loses(id: DeviceId, left: DeviceId | null = id): this {
    this.away.add(id)
    this.map.slices.set(
      pool,
      this.records.map(record => {
        if (record.primary === id)
          return { ...record, primary: record.secondary!, secondary: null, left, epoch: record.epoch + 1 }
        return record.secondary === id ? { ...record, secondary: null, left, epoch: record.epoch + 1 } : record
      }),
    )
    return this
  }

  forgetWish(): void {
    this.#wish = null
  }

  /** Without the devices that are `gone`: away for longer than the grace period. */
  wish(gone: readonly DeviceId[] = []): Wish | null {
    const devices = readyDevices(this.map, pool).filter(({ deviceId }) => !gone.includes(deviceId))
    this.#wish = wishFor(devices, this.records, this.#wish)
    return this.#wish
  }

  plan(gone: readonly DeviceId[] = []): FillPlan {
    const facts: FillFacts = {
      map: this.map,
      epochHigh: new Map(),
      isReady: id => !this.away.has(id),
      missingMs: () => this.missingMs,
      isJoiningFull: (slice, epoch) => this.fullSlices.has(`${slice} ${epoch}`),
      freeChunks: id => (this.full.has(id) ? 0 : this.freeChunks),
      chunksPerSlice: this.chunksPerSlice,
      mayLead: id => !this.outOfReach.has(id),
      arePartedNow: () => false,
    }
    return planFills(facts, pool, this.wish(gone))
  }

  apply(changes: readonly SliceChange[]): void {
    for (const { replaces, record } of changes) {
      const old = this.records[record.slice]!
      if (old.epoch !== replaces) throw new Error('a change names the epoch that it replaces')
      checkTransition(old, record)
      this.records[record.slice] = record
    }
  }

  /** All that joins is filled, all that is to be swapped is swapped. */
  finish(swaps: FillPlan['swaps']): void {
    for (const [slice, record] of this.records.entries()) {
      const { joining, epoch } = record
      if (joining !== null)
        this.records[slice] = { ...record, epoch: epoch + 1, secondary: joining, joining: null, left: null }
    }
    for (const { slice, epoch, primary } of swaps) {
      const record = this.records[slice]!
      if (record.epoch !== epoch || record.primary !== primary) throw new Error('a swap names the record')
      this.records[slice] = { ...record, primary: record.secondary!, secondary: primary, epoch: epoch + 1 }
    }
  }

  /** Plans and carries out until nothing is left; checks the rules at every step. Returns the number of steps. */
  settle(t: Test, gone: readonly DeviceId[] = []): number {
    for (let step = 0; step < 2_000; step++) {
      const plan = this.plan(gone)
      const single = this.records.some(({ secondary }) => secondary === null)
      if (single) t.equal(plan.moves.length + plan.swaps.length, 0, 'nothing is moved while data has one copy')
      this.apply(plan.abandons)
      this.apply(plan.rebuilds)
      this.apply(plan.moves)
      this.check(t)
      const isDone = plan.rebuilds.length + plan.moves.length + plan.swaps.length + plan.abandons.length === 0
      if (isDone) return step
      this.finish(plan.swaps)
    }
    throw new Error('it does not come to an end')
  }

  check(t: Test): void {
    const load = new Map<DeviceId, number>()
    for (const record of this.records) {
      const { primary, secondary, joining, left = null } = record
      const unit = faultUnitOf(this.map, primary)
      if (secondary !== null && faultUnitOf(this.map, secondary) === unit) t.fail('two copies in one fault unit')
      if (joining === null) continue
      if (faultUnitOf(this.map, joining) === unit) t.fail('a copy joins in the fault unit of the primary')
      if (joining !== left) for (const id of [primary, joining]) load.set(id, (load.get(id) ?? 0) + 1)
    }
    for (const count of load.values()) if (count > fillsPerDevice) t.fail('more fills than a device may have')
  }

  copiesOn(id: DeviceId): number {
    return this.records.filter(record => copiesOf(record).includes(id)).length
  }
}

t.test('rebuild: a healthy pool: nothing to do', async t => {
  const plan = new Scene(4).plan()
  t.same([plan.rebuilds, plan.moves, plan.swaps, plan.abandons], [[], [], [], []])
})

t.test('rebuild: within the grace period nothing is copied elsewhere, and nothing is moved', async t => {
  const scene = new Scene(4)
  scene.loses(deviceAt(0))
  scene.missingMs = 59_999
  scene.add(9)
  const plan = scene.plan()
  t.same([plan.rebuilds, plan.moves, plan.swaps], [[], [], []])
})

t.test(
  'rebuild: after it every slice regains two copies on the others, a few per device at a time, spread over all',
  async t => {
    const scene = new Scene(5)
    const lost = deviceAt(0)
    const had = scene.copiesOn(lost)
    scene.loses(lost)
    scene.missingMs = 60_000
    const plan = scene.plan([lost])
    t.equal(plan.rebuildsLeft, had)
    const sources = new Set(plan.rebuilds.map(({ record }) => record.primary))
    const targets = new Set(plan.rebuilds.map(({ record }) => record.joining))
    t.ok(plan.rebuilds.length >= 3, 'work for nearly every device at once')
    t.ok(sources.size + targets.size >= 5, 'sources and targets are spread')
    scene.settle(t, [lost])
    t.ok(scene.records.every(({ secondary }) => secondary !== null))
    t.equal(scene.copiesOn(lost), 0)
    for (let index = 1; index < 5; index++) t.ok(Math.abs(scene.copiesOn(deviceAt(index)) - 32) <= 2, 'shares are even')
  },
)

t.test('rebuild: a failed device is not waited for', async t => {
  const scene = new Scene(4)
  const lost = deviceAt(1)
  scene.loses(lost, null)
  scene.setState(lost, 'failed')
  t.ok(scene.plan([lost]).rebuilds.length > 0)
  scene.settle(t, [lost])
  t.equal(scene.copiesOn(lost), 0)
})

t.test('rebuild: two fault units, one is lost: nowhere to copy to; nothing is planned', async t => {
  const scene = new Scene(2)
  scene.loses(deviceAt(0))
  scene.missingMs = 120_000
  const plan = scene.plan([deviceAt(0)])
  t.same([plan.rebuilds, plan.rebuildsLeft], [[], 0])
})

t.test('rebuild: a target without room is not chosen; one that turns out full is given up', async t => {
  const scene = new Scene(4)
  const lost = deviceAt(0)
  scene.loses(lost)
  scene.missingMs = 60_000
  scene.full.add(deviceAt(1))
  const plan = scene.plan([lost])
  t.ok(plan.rebuilds.length > 0)
  t.ok(plan.rebuilds.every(({ record }) => record.joining !== deviceAt(1)))
  scene.apply(plan.rebuilds)
  const { slice, epoch, joining } = plan.rebuilds[0]!.record
  scene.fullSlices.add(`${slice} ${epoch}`)
  scene.full.add(joining!)
  const next = scene.plan([lost])
  t.match(next.abandons, [{ record: { slice, joining: null, left: lost } }])
  scene.apply(next.abandons)
  t.notOk(scene.plan([lost]).rebuilds.some(({ record }) => record.slice === slice && record.joining === joining))
})

t.test('rebalance: a new device gets its share, and only that moves', async t => {
  const scene = new Scene(4)
  const before = structuredClone(scene.records)
  const added = scene.add(4)
  const steps = scene.settle(t)
  t.ok(steps > 5, 'bit by bit')
  t.ok(Math.abs(scene.copiesOn(added) - 128 / 5) <= 1)
  const moved = scene.records.filter((record, slice) => {
    const old = before[slice]!
    return copiesOf(record).some(id => !copiesOf(old).includes(id))
  })
  t.ok(moved.length <= scene.copiesOn(added), 'nothing else')
  t.equal(scene.plan().movesLeft, 0)
})

t.test('rebalance: a removed device is drained, primaries after a swap; then nothing names it', async t => {
  const scene = new Scene(4)
  const removed = deviceAt(2)
  scene.setState(removed, 'removing')
  t.ok(scene.plan().swaps.length > 0, 'its primaries are swapped first')
  scene.settle(t)
  t.equal(scene.copiesOn(removed), 0)
})

t.test('rebalance: removed while slices are moved to it: those moves are given up', async t => {
  const scene = new Scene(4)
  const added = scene.add(4)
  scene.apply(scene.plan().moves)
  t.ok(scene.copiesOn(added) > 0)
  scene.setState(added, 'removing')
  scene.settle(t)
  t.equal(scene.copiesOn(added), 0)
})

t.test('rebalance: roles come back to where they were wished after a return', async t => {
  const scene = new Scene(3)
  scene.wish()
  const primaries = () => scene.records.filter(({ primary }) => primary === deviceAt(0)).length
  const before = primaries()
  scene.loses(deviceAt(0))
  scene.away.clear()
  for (const [slice, record] of scene.records.entries())
    if (record.left) scene.records[slice] = { ...record, joining: record.left, epoch: record.epoch + 1 }
  t.equal(scene.plan().swaps.length, 0, 'not while they are filled')
  scene.finish([])
  t.equal(primaries(), 0)
  scene.outOfReach.add(deviceAt(0))
  t.equal(scene.plan().swaps.length, 0, 'nor while clients do not reach it')
  scene.outOfReach.clear()
  scene.settle(t)
  t.equal(primaries(), before)
})

t.test('a return after a forward rebuild: the table takes the device in again', async t => {
  const scene = new Scene(4)
  const lost = deviceAt(3)
  scene.loses(lost)
  scene.missingMs = 60_000
  scene.settle(t, [lost])
  scene.away.clear()
  scene.settle(t)
  t.ok(Math.abs(scene.copiesOn(lost) - 32) <= 1)
})

t.test(
  'a wish that is made anew while copies are filled, as after a restart of the MDM, is whole and comes true',
  async t => {
    const scene = new Scene(4)
    const lost = deviceAt(3)
    scene.loses(lost)
    scene.missingMs = 60_000
    scene.apply(scene.plan([lost]).rebuilds)
    t.ok(scene.records.some(({ secondary, joining }) => secondary === null && joining !== null))
    scene.forgetWish()
    const wish = scene.wish([lost])!
    t.notOk([...wish.primary, ...wish.secondary].some(id => !id || id === lost))
    scene.settle(t, [lost])
    t.equal(scene.plan([lost]).movesLeft, 0)
  },
)
