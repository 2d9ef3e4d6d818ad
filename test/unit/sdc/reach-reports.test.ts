import t, { type Test } from 'tap'
import { chunkBytes } from '../../../src/base/units.js'
import { ReachReports } from '../../../src/sdc/reach-reports.js'
import type { MdmNotices } from '../../../src/wire/control.js'
import { deviceIds, idOf, Outcome, World } from './world.js'

type Report = MdmNotices['sdcReach']
const sdsIdAt = (index: number) => idOf<'sds'>(11 + index)

/** An SDC that reads chunk 0 (primary on SDS 0, secondary on SDS 1) now and then. */
async function scene(t: Test) {
  const world = await new World().start()
  const volume = world.open()
  const reports: Report[] = []
  const watch = new ReachReports(world, world.path, report => reports.push(report))
  watch.start()
  t.teardown(() => watch.close())
  const read = () => {
    const outcome = new Outcome()
    volume.read(0, Buffer.alloc(4096), outcome.done)
    return outcome
  }
  const first = read()
  await world.clock.runUntil(() => first.isDone)
  return { world, reports, read }
}

t.test('reach: while everybody answers, nothing is said', async t => {
  const { world, reports, read } = await scene(t)
  for (let second = 0; second < 10; second++) {
    read()
    await world.clock.runFor(1_000)
  }
  t.same(reports, [])
  t.ok(world.takenBackOld >= 10, 'what the relay has had for long is asked for by the sessions')
})

t.test(
  'reach: a primary that is out of reach is named, with the copy that answers instead, until it answers',
  async t => {
    const { world, reports, read } = await scene(t)
    world.network.cut('sdc', '10.0.0.1:7000')
    const outcome = read()
    await world.clock.runFor(1_900)
    t.same(reports, [], 'not before the MDM can have convicted it')
    await world.clock.runFor(1_000)
    t.same(reports.at(-1), { unreachable: [sdsIdAt(0)], reached: [sdsIdAt(1)] })
    world.move(0, { primary: world.map.slices.values().next().value![0]!.secondary!, secondary: null })
    world.push()
    await world.clock.runUntil(() => outcome.isDone)
    await world.clock.runFor(10_000)
    t.same(reports.at(-1)?.unreachable, [sdsIdAt(0)], 'though nothing is wanted of it any more')
    const said = reports.length
    await world.clock.runFor(2_000)
    t.equal(reports.length - said, 4, 'twice a second')
    world.network.heal()
    await world.clock.runFor(6_000)
    t.same(reports.at(-1)?.unreachable, [])
    const last = reports.length
    await world.clock.runFor(5_000)
    t.equal(reports.length, last, 'said once')
  },
)

t.test('reach: an SDS that is slow with its answers is not out of reach', async t => {
  const { world, reports, read } = await scene(t)
  world.sdss[0]!.behave = () => 'hold'
  read()
  await world.clock.runFor(20_000)
  t.same(reports, [])
})

t.test(
  'reach: an SDS that answers for another of its devices is not out of reach, though only the relay reads there',
  async t => {
    const { world, reports, read } = await scene(t)
    const elsewhere = new Outcome()
    world.volumes[0]!.read(2 * chunkBytes, Buffer.alloc(4096), elsewhere.done)
    await world.clock.runUntil(() => elsewhere.isDone)
    const device = world.map.tables.devices.get(deviceIds[2]!)!
    world.commit([{ kind: 'put', table: 'devices', value: { ...device, sdsId: sdsIdAt(0) } }])
    world.push()
    await world.clock.runFor(20_000)
    world.network.cut('sdc', '10.0.0.1:7000')
    read()
    await world.clock.runFor(10_000)
    t.same(reports, [])
  },
)
