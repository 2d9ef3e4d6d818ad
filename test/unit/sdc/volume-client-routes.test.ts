import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { chunkBytes } from '../../../src/base/units.js'
import { cleanEpoch } from '../../../src/core/sdc/index.js'
import { deviceIds, Outcome, World } from './world.js'

t.test('a read goes past the SDC only where nothing is to be decided, and every map takes it back', async t => {
  const world = await new World().start()
  const volume = world.open()
  const read = async (offset: number) => {
    const outcome = new Outcome()
    volume.read(offset, Buffer.alloc(4096), outcome.done)
    await world.clock.runUntil(() => outcome.isDone)
  }
  t.equal(volume.route(0), null, 'there is no session yet')
  await read(0)
  const { epoch } = world.path.recordOf(volume.poolId, 0)!
  t.match(volume.route(0), { epoch, chunk: 0, slice: 0, pool: 3, mapping: 41, volume: 31 })
  t.equal(volume.route(0)!.mapVersion, world.map.version)
  await read(chunkBytes + 4096)
  const { sliceCount } = world
  t.match(volume.route(chunkBytes + 4096), { chunk: 1, sliceCount, chunkCount: volume.sizeBytes / chunkBytes })
  t.not(volume.route(chunkBytes)!.connection, volume.route(0)!.connection, 'each goes to its own primary')
  const before = world.takenBack
  world.path.onMapChange()
  t.equal(world.takenBack, before + 1)
  world.sdss[0]!.behave = () => errorTable.NOT_READY.wire
  const refused = new Outcome()
  volume.read(0, Buffer.alloc(4096), refused.done)
  await world.clock.runUntil(() => world.path.troubledSlices > 0)
  t.equal(volume.route(chunkBytes), null, 'while something is refused')
  world.sdss[0]!.behave = () => undefined
  await world.clock.runUntil(() => refused.isDone)
  t.not(volume.route(0), null)
  t.equal(world.open({ mapping: { iopsLimit: 500 } }).route(0), null, 'limits are kept here')
  void volume.close()
  t.equal(volume.route(0), null, 'a closed volume')
  t.equal(world.takenBack, before + 2)
})

t.test('writes go past the SDC only where the volume may be written, and what is not durable can be noted', async t => {
  const read = async (world: World, volume: ReturnType<World['open']>) => {
    const outcome = new Outcome()
    volume.read(0, Buffer.alloc(4096), outcome.done)
    await world.clock.runUntil(() => outcome.isDone)
  }
  const world = await new World().start()
  const volume = world.open()
  await read(world, volume)
  const { notes } = volume.route(0)!
  t.not(notes, null)
  t.equal(volume.route(4096)!.notes, notes, 'the same for the whole volume')
  t.not(world.open().route(0)!.notes, notes, 'and another volume’s are others')
  t.equal(world.open({ mapping: { accessMode: 'ReadOnly' } }).route(0)!.notes, null)
  world.state.broken = true
  const written = new Outcome()
  volume.write(0, [Buffer.alloc(4096, 7)], false, written.done)
  await world.clock.runUntil(() => written.isDone)
  t.equal(written.errno, null)
  t.match(volume.route(0), { notes: null, chunk: 0 }, 'reads still may')
  t.ok(volume.notes.cells.every(cell => cell === cleanEpoch))
})

t.test('what an SDC passes on counts as the volume’s requests, and as under way', async t => {
  const world = await new World().start()
  const tallies: { ios: number; bytes: number; underWay: number; returned: number; close(): void }[] = []
  Object.assign(world.relay, {
    newTally: () => {
      tallies.push({ ios: 0, bytes: 0, underWay: 0, returned: 0, close: () => {} })
      return tallies.at(-1)!
    },
  })
  const volume = world.open()
  const [reads, writes] = tallies
  Object.assign(reads!, { ios: 3, bytes: 12_288, underWay: 1 })
  Object.assign(writes!, { ios: 5, bytes: 2_560, underWay: 2 })
  const { stats } = volume
  t.same([stats.requests('read'), stats.bytes('read')], [3, 12_288])
  t.same([stats.requests('write'), stats.bytes('write')], [5, 2_560])
  t.same([stats.requests('trim'), stats.requests('flush')], [0, 0])
  t.equal(volume.requestsActive, 3)
})

t.test('a volume that closes takes back what is below, and its notes end when the SDSs have answered it', async t => {
  const world = await new World().start()
  const steps: string[] = []
  const notes = { unanswered: 2, close: () => void steps.push('notes closed') }
  Object.assign(world.relay, { takeBackAll: () => void steps.push('taken back'), newNotes: () => notes })
  const volume = world.open()
  const closed = volume.close()
  t.equal(volume.close(), closed)
  void closed.then(() => void steps.push('closed'))
  await world.clock.runFor(1_000)
  notes.unanswered--
  await world.clock.runFor(1_000)
  t.same(steps, ['taken back'])
  notes.unanswered--
  await world.clock.finish(closed)
  t.same(steps, ['taken back', 'notes closed', 'closed'])
})

t.test('a volume that closes does not wait for an SDS that is silent longer than for any request', async t => {
  const world = await new World().start()
  const before = world.open()
  const read = new Outcome()
  before.read(0, Buffer.alloc(4096), read.done)
  await world.clock.runUntil(() => read.isDone)
  const session = [...world.path.sessions].find(({ deviceId }) => deviceId === deviceIds[0])!
  // As the addon counts: a write is unanswered until the connection ends.
  const { connection } = session
  Object.assign(world.relay, {
    unansweredOn: (on: unknown) => (on === connection ? 1 : 0),
    newNotes: () => ({
      get unanswered() {
        return session.connection === connection ? 1 : 0
      },
      close: () => {},
    }),
  })
  const volume = world.open()
  world.network.cut('sdc', 'sds-0')
  let isClosed = false
  void volume.close().then(() => {
    isClosed = true
  })
  await world.clock.runFor(60_000)
  t.ok(isClosed)
})
