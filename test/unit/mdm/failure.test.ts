import t from 'tap'
import { copiesOf, type SliceRecord } from '../../../src/model/index.js'
import { Bench, registration } from './harness.js'
import { LivingWorld } from './living-sds.js'

const isOn = (id: string) => (record: SliceRecord) => (copiesOf(record) as string[]).includes(id)
const isWhole = ({ secondary, joining }: SliceRecord) => secondary !== null && joining === null

t.test('SIGKILL of an SDS: within a second its slices go on from the others, and it has left', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  const before = await world.records()
  const [dead] = world.sdss
  dead!.kill()
  await world.run(1_000)
  for (const record of await world.records()) {
    const old = before[record.slice]!
    if (!isOn(dead!.deviceId)(old)) {
      t.same(record, old)
      continue
    }
    const survivor = old.primary === dead!.deviceId ? old.secondary : old.primary
    t.match(record, { primary: survivor, secondary: null, joining: null, left: dead!.deviceId })
  }
  await dead!.restart('p0-2', {})
  await world.run(2_000)
  const after = await world.records()
  t.ok(after.every(isWhole), 'back by its marks, and whole again')
  t.equal(after.filter(isOn(dead!.deviceId)).length, before.filter(isOn(dead!.deviceId)).length)
})

t.test('SIGSTOP: convicted after a second, not before; continued, the same process joins again', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  const [frozen] = world.sdss
  frozen!.freeze()
  await world.run(700)
  t.ok((await world.records()).every(isWhole))
  await world.run(1_000)
  t.notOk((await world.records()).some(isOn(frozen!.deviceId)))
  frozen!.thaw()
  await world.run(2_000)
  t.ok((await world.records()).every(isWhole))
  t.match((await world.refresh()).sdss[0]!.oscillations, { short: 1, long: 1 })
})

t.test('cut off from the MDM alone: nothing happens, however long', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  const before = await world.records()
  world.sdss[0]!.talker.connection.close()
  await world.run(120_000)
  t.same(await world.records(), before)
})

t.test(
  'two SDSs that do not reach each other, both reached by the third: the secondary of what they share leaves',
  async t => {
    const world = await LivingWorld.open(new Bench(), 3)
    const before = await world.records()
    const [one, two] = world.sdss
    const sinceMs = world.nowMs
    one!.unreachable.set(1, { sinceMs, refused: false })
    two!.unreachable.set(0, { sinceMs, refused: false })
    await world.run(2_000)
    for (const record of await world.records()) {
      const old = before[record.slice]!
      const isShared = isOn(one!.deviceId)(old) && isOn(two!.deviceId)(old)
      if (isShared) t.match(record, { primary: old.primary, secondary: null, left: old.secondary })
      else t.same(record, old)
    }
    one!.unreachable.clear()
    two!.unreachable.clear()
    await world.run(3_000)
    t.ok((await world.records()).every(isWhole))
  },
)

t.test('an SDS that never says that it lives is neither convicted nor promoted over', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  world.bench.world.crashProcess('mdm-1')
  for (const sds of world.sdss) sds.talker.connection.close()
  await world.bench.start()
  const [quiet, ...others] = world.sdss
  quiet!.isStopped = true
  const talker = await world.bench.connect('sds', 'sds-0')
  await talker.ask('registerSds', registration(0, 'p0-1', []))
  for (const sds of others) await sds.restart(`p${sds.index}-1`, { cleanStop: true })
  await world.run(5_000)
  talker.connection.close()
  world.blame(0, true)
  await world.run(10_000)
  Object.assign(world, { tool: await world.bench.connect('tool', 'scli') })
  t.ok((await world.records()).some(isOn(quiet!.deviceId)))
})

t.test('both copies lost: the last one in sync never leaves', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  world.sdss[0]!.kill()
  await world.run(1_000)
  const sole = (await world.records()).filter(
    ({ primary, secondary }) => primary === world.sdss[1]!.deviceId && secondary === null,
  )
  world.sdss[1]!.kill()
  await world.run(5_000)
  const after = await world.records()
  for (const { slice, epoch } of sole) t.match(after[slice], { epoch, primary: world.sdss[1]!.deviceId })
  await world.sdss[1]!.restart('p1-2', {})
  await world.sdss[0]!.restart('p0-2', {})
  await world.run(5_000)
  t.ok((await world.records()).every(isWhole))
})

t.test(
  'away for longer than the grace period: everything has two copies again elsewhere; it comes back, and gets its share',
  async t => {
    const world = await LivingWorld.open(new Bench(), 4)
    const [dead] = world.sdss
    dead!.kill()
    await world.run(55_000)
    t.ok(
      (await world.records()).some(({ secondary }) => secondary === null),
      'nothing before the grace period is over',
    )
    t.match((await world.refresh()).pools[0]!.rebuild, { slicesLeft: 0 })
    await world.run(8_000)
    t.match((await world.refresh()).pools[0]!.slices, { total: 64 })
    await world.run(60_000)
    const without = await world.records()
    t.ok(without.every(isWhole))
    t.notOk(without.some(isOn(dead!.deviceId)))
    t.match((await world.refresh()).pools[0]!.rebuild, { slicesLeft: 0, percent: 100 })
    await dead!.restart('p0-2', {})
    await world.run(120_000)
    const after = await world.records()
    t.ok(after.every(isWhole))
    t.ok(Math.abs(after.filter(isOn(dead!.deviceId)).length - 32) <= 1)
  },
)

t.test('removing an SDS: answered at once, drained, gone by itself', async t => {
  const world = await LivingWorld.open(new Bench(), 4)
  t.same(await world.tool.ask('removeSds', { sds: 'sds-3' }), { removed: false })
  t.match((await world.refresh()).devices[3], { state: 'removing' })
  await world.run(60_000)
  const report = await world.refresh()
  t.same(
    report.sdss.map(({ name }) => name),
    ['sds-0', 'sds-1', 'sds-2'],
  )
  t.equal(report.devices.length, 3)
  t.match(report.pools[0], { slices: { total: 64, healthy: 64 }, rebalance: { slicesLeft: 0, percent: 100 } })
})

t.test('a device that fails: its copies leave at once and are made elsewhere, without a grace period', async t => {
  const world = await LivingWorld.open(new Bench(), 4)
  const [bad] = world.sdss
  bad!.error = 'EIO'
  await world.run(1_500)
  t.match((await world.refresh()).devices[0], { state: 'failed' })
  await world.run(30_000)
  const after = await world.records()
  t.notOk(after.some(isOn(bad!.deviceId)))
  t.ok(after.every(isWhole))
})

t.test('maintenance: its copies leave, nobody copies them elsewhere, and on exit they join again', async t => {
  const world = await LivingWorld.open(new Bench(), 4)
  await world.tool.ask('enterMaintenance', { sds: 'sds-0' })
  const { deviceId } = world.sdss[0]!
  t.notOk((await world.records()).some(isOn(deviceId)))
  await t.rejects(world.tool.ask('enterMaintenance', { sds: 'sds-1' }), { code: 'IN_USE', context: { other: 'sds-0' } })
  await world.run(180_000)
  const during = await world.records()
  t.ok(during.some(({ left }) => left === deviceId))
  t.notOk(during.some(isOn(deviceId)))
  await world.tool.ask('exitMaintenance', { sds: 'sds-0' })
  await world.run(2_000)
  t.ok((await world.records()).every(isWhole))
  world.sdss[1]!.kill()
  await world.run(100)
  await t.rejects(world.tool.ask('enterMaintenance', { sds: 'sds-0' }), { code: 'IN_USE', context: { sds: 'sds-0' } })
})

const leads = (id: string) => (record: SliceRecord) => record.primary === id

t.test('an SDS about to stop: its roles go to the other copies at once, stay there, and return with it', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  const [leaver, other] = world.sdss
  const before = await world.records()
  const askedMs = world.nowMs
  await leaver!.talker.ask('handOver', { incarnation: 1 })
  t.ok(world.nowMs - askedMs < 500)
  await world.run(5_000)
  const after = await world.records()
  t.ok(after.every(isWhole), 'nobody left')
  t.notOk(after.some(leads(leaver!.deviceId)), 'and nothing is given back while it is there')
  for (const record of after.filter(({ slice }) => leads(leaver!.deviceId)(before[slice]!)))
    t.match(record, { primary: before[record.slice]!.secondary, secondary: leaver!.deviceId })
  await other!.talker.ask('handOver', { incarnation: 1 })
  const last = await world.records()
  t.notOk(last.some(record => leads(other!.deviceId)(record) && record.secondary !== leaver!.deviceId))
  t.notOk(last.some(leads(leaver!.deviceId)), 'nor by another one that stops')
  leaver!.kill()
  await world.run(1_000)
  await leaver!.restart('p0-2', { cleanStop: true })
  await world.run(20_000)
  t.equal((await world.records()).filter(leads(leaver!.deviceId)).length, before.filter(leads(leaver!.deviceId)).length)
})

t.test('an SDS about to stop: what cannot be handed over stays, the answer comes in time', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  const before = await world.records()
  world.sdss[0]!.drains = false
  const askedMs = world.nowMs
  await world.sdss[0]!.talker.ask('handOver', { incarnation: 1 })
  t.ok(world.nowMs - askedMs < 6_000)
  t.same(await world.records(), before)
  await world.sdss[1]!.talker.ask('handOver', { incarnation: 7 })
  t.same(await world.records(), before, 'an older process asks in vain')
})

t.test('maintenance: what the SDS leads is handed over, not promoted in its place', async t => {
  const world = await LivingWorld.open(new Bench(), 3)
  const { deviceId, talker } = world.sdss[0]!
  await world.tool.ask('enterMaintenance', { sds: 'sds-0' })
  t.equal(talker.requests.filter(name => name === 'drainSlices').length, 1)
  t.notOk((await world.records()).some(isOn(deviceId)))
  await world.tool.ask('exitMaintenance', { sds: 'sds-0' })
  await world.run(5_000)
  t.ok((await world.records()).some(leads(deviceId)), 'and gets it back')
  world.sdss[2]!.kill()
  await world.run(10)
  await t.rejects(world.tool.ask('enterMaintenance', { sds: 'sds-0' }), { code: 'IN_USE' })
  t.equal(talker.requests.filter(name => name === 'drainSlices').length, 1, 'refused: nothing was moved for it')
})

t.test(
  'an SDC does not reach a primary: the copy that it reaches leads, until it reaches the other one again',
  async t => {
    const world = await LivingWorld.open(new Bench(), 3)
    const sdc = await world.bench.connect('sdc', 'sdc-1')
    await sdc.ask('registerSdc', { guid: 'c', processId: 'c-1', name: 'sdc-1' })
    const [far, near] = world.sdsIds as [string, string, string]
    const says = (unreachable: string[], reached: string[]) =>
      sdc.connection.send({ kind: 'notice', name: 'sdcReach', params: { unreachable, reached } })
    const saysFor = async (ms: number, unreachable: string[], reached: string[]) => {
      for (let at = 0; at < ms; at += 500) {
        says(unreachable, reached)
        await world.run(500)
      }
    }
    const { deviceId } = world.sdss[0]!
    const before = await world.records()
    await saysFor(2_000, [far], [near])
    t.same(await world.records(), before, 'it has no business here')
    await world.tool.ask('mapVolume', { volume: 'v', sdc: 'sdc-1' })
    await saysFor(3_000, [far], [near])
    const during = await world.records()
    t.ok(during.every(isWhole))
    const nearId = world.sdss[1]!.deviceId
    for (const { slice, primary, secondary } of before) {
      const isMoved = primary === deviceId && secondary === nearId
      t.match(during[slice], isMoved ? { primary: nearId, secondary: deviceId } : { primary, secondary })
    }
    await saysFor(20_000, [far], [near])
    t.same(await world.records(), during, 'and it stays so')
    says([], [far, near])
    await world.run(5_000)
    t.same(
      (await world.records()).map(({ primary }) => primary),
      before.map(({ primary }) => primary),
    )
  },
)

t.test('the progress of a rebuild goes on where it was when the MDM has restarted', async t => {
  const world = await LivingWorld.open(new Bench(), 4)
  await world.tool.ask('setGracePeriod', { pool: 'pool1', gracePeriodMs: 0 })
  const [dead, ...others] = world.sdss
  const fill = (isFilling: boolean) => {
    for (const sds of others) sds.isFilling = isFilling
  }
  const progress = async () => (await world.refresh()).pools[0]!.rebuild
  dead!.kill()
  await world.run(2_500)
  fill(false)
  await world.run(1_000)
  const { percent, bytesTotal } = (await progress())!
  t.ok(percent > 5 && percent < 95, `${percent}%`)
  await world.bench.finish(world.bench.mdm!.stop())
  world.bench.world.crashProcess('mdm-1')
  for (const sds of others) sds.talker.connection.close()
  await world.bench.start()
  for (const sds of others) await sds.restart(`p${sds.index}-1`, { cleanStop: true })
  world.blame(0, true)
  Object.assign(world, { tool: await world.bench.connect('tool', 'scli') })
  t.equal(await progress(), undefined, 'not known before the SDSs have reported')
  await world.run(8_000)
  t.match(await progress(), { percent, bytesTotal })
  fill(true)
  await world.run(30_000)
  t.match(await progress(), { percent: 100, slicesLeft: 0 })
  await world.run(60_000)
  const [pool] = (await world.refresh()).pools
  t.match(pool, { rebalance: { slicesLeft: 0 } })
  t.equal(pool!.fillBytesTotal, undefined)
})
