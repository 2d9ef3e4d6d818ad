import t from 'tap'
import { MiB } from '../../../../src/base/units.js'
import type { DeviceStore, IdleMark, StoreError } from '../../../../src/sds/store/index.js'
import { deviceId, indexDirectory, StoreHost, stamped } from './store-host.js'

const bytes = stamped('kept', 8192)
const all = () => true
const index = `${indexDirectory}/${deviceId}`

async function openNew(slots = 8): Promise<{ host: StoreHost; store: DeviceStore }> {
  const host = await StoreHost.withDevice({ slots })
  return { host, store: await host.open() }
}

/** As a primary does it, with nobody in between. */
async function clearIdle(host: StoreHost, store: DeviceStore): Promise<number> {
  const idle = store.idleMarks(0, 1000, all)
  let cleared = 0
  const errors = [
    await host.ask(done => store.sync(done)),
    await host.ask(done => {
      cleared = store.unmark(idle, done)
    }),
  ]
  if (errors.some(error => error !== null)) throw new Error(JSON.stringify(errors))
  return cleared
}

t.test('mark: nothing of a chunk is changed before its mark is durable', async t => {
  for (const verb of ['first write', 'write', 'zero', 'remove'] as const) {
    const { host, store } = await openNew()
    store.reserve(1, 0, 'thin', false)
    if (verb !== 'first write') {
      await host.ask(done => store.write(1, 0, 0, [bytes], done))
      t.equal(await clearIdle(host, store), 1)
    } else await host.write(store, 1, 1, 0, bytes)
    host.metaStores.flushDelayMs = 500
    let answered = false
    const done = () => {
      answered = true
    }
    if (verb === 'zero') store.zero(1, 0, 0, MiB, done)
    else if (verb === 'remove') store.remove(1, 0, done)
    else store.write(1, 0, 0, [stamped('new', 8192)], done)
    await host.clock.runFor(400)
    t.notOk(answered || store.isMarked(1, 0), `${verb}: not yet`)
    t.equal(store.touchOf(1, 0), null, 'though it waits')
    t.equal(host.peek(0, host.file.sizeBytes).indexOf('[new]'), -1)
    t.equal(store.has(1, 0), verb !== 'first write')
    await host.clock.runFor(200)
    t.ok(answered && store.isMarked(1, 0), `${verb}: then it is`)
    host.losePower()
    t.ok((await host.open()).isMarked(1, 0), 'and after a power loss too')
  }
})

t.test('mark: chunks that are first touched together share one durable commit; marked ones need none', async t => {
  const { host, store } = await openNew()
  for (let chunk = 0; chunk < 8; chunk++) await host.write(store, 1, chunk, 0, bytes)
  t.equal(await clearIdle(host, store), 8)
  host.metaStores.flushDelayMs = 100
  const writeAll = () =>
    [...Array(24).keys()].map(at => host.begin(done => store.write(1, at % 8, 8192 * at, [bytes], done)))
  const first = Promise.all(writeAll())
  await host.clock.runFor(102)
  t.same(new Set(await first), new Set([null]))
  host.metaStores.fail(index, 'nobody asks the index')
  const again = Promise.all(writeAll())
  await host.clock.runFor(2)
  t.same(new Set(await again), new Set([null]))
})

t.test('mark: one that cannot be made fails its change, which has not begun, and nothing else', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  await host.write(store, 1, 1, 0, bytes)
  await clearIdle(host, store)
  await host.write(store, 1, 1, 0, bytes)
  host.metaStores.fail(index, 'MDB_MAP_FULL')
  const refused = { kind: 'meta', text: 'MDB_MAP_FULL' }
  t.same(await host.ask(done => store.write(1, 0, 0, [stamped('lost', 8192)], done)), refused)
  t.same(await host.ask(done => store.zero(1, 0, 0, 8192, done)), refused)
  t.same(await host.ask(done => store.remove(1, 0, done)), refused)
  t.same(await host.write(store, 1, 2, 0, stamped('lost', 8192)), refused)
  t.equal(store.failed, null)
  t.same(store.markedOf(1, 0, 9, 1), [1])
  t.ok((await host.readBytes(store, 1, 0, 0, 8192)).equals(bytes))
  t.equal(await host.ask(done => store.write(1, 1, 8192, [bytes], done)), null, 'marked chunks go on')
  host.metaStores.fail(index, null)
  t.equal(await host.write(store, 1, 0, 0, stamped('now', 8192)), null, 'and so does the other one, later')
  t.equal(await host.ask(done => store.remove(1, 2, done)), null, 'the slot is given back')
})

t.test('unmark: only chunks that were not touched since, nor are being changed', async t => {
  const { host, store } = await openNew()
  for (const chunk of [0, 1, 2, 3]) await host.write(store, 1, chunk, 0, bytes)
  const idle = store.idleMarks(0, 10, all)
  t.same(
    idle.map(({ chunk }) => chunk),
    [0, 1, 2, 3],
  )
  await host.ask(done => store.write(1, 1, 0, [bytes], done))
  const writing = host.begin(done => store.write(1, 2, 0, [bytes], done))
  t.equal(store.touchOf(1, 2), null)
  t.same(
    store.idleMarks(0, 10, all).map(({ chunk }) => chunk),
    [0, 1, 3],
  )
  let cleared = 0
  t.equal(await host.ask(done => (cleared = store.unmark([...idle, { volume: 9, chunk: 0, touch: 1 }], done))), null)
  t.equal(cleared, 2)
  t.equal(await host.clock.finish(writing), null)
  t.same(store.markedOf(1, 0, 9, 1), [1, 2])
  t.equal(store.markedCount(), 2)
  t.equal(store.touchOf(1, 0), 0)
  t.ok((await host.readBytes(store, 1, 0, 0, 8192)).equals(bytes))
})

t.test('unmark: a change that follows at once marks again, durably', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  const idle = store.idleMarks(0, 10, all)
  await host.ask(done => store.sync(done))
  const order: string[] = []
  store.unmark(idle, () => order.push('cleared'))
  t.notOk(store.isMarked(1, 0))
  store.write(1, 0, 0, [bytes], () => order.push('written'))
  await host.clock.runFor(50)
  t.same(order, ['cleared', 'written'])
  host.losePower()
  t.ok((await host.open()).isMarked(1, 0))
})

t.test('unmark: what the index refuses stays marked on the device', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  await host.ask(done => store.sync(done))
  host.metaStores.fail(index, 'EIO')
  t.match(await host.ask(done => store.unmark(store.idleMarks(0, 10, all), done)), { kind: 'meta' })
  host.metaStores.fail(index, null)
  host.kill()
  t.ok((await host.open()).isMarked(1, 0))
})

t.test('idle: chunks that were left alone for so long, of those that are wanted', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  await host.write(store, 2, 0, 0, bytes)
  await host.clock.runFor(1000)
  await host.write(store, 1, 1, 0, bytes)
  const names = (marks: IdleMark[]) => marks.map(({ volume, chunk }) => `${volume}/${chunk}`)
  t.same(names(store.idleMarks(900, 10, all)).sort(), ['1/0', '2/0'])
  t.same(names(store.idleMarks(900, 10, volume => volume === 2)), ['2/0'])
  t.same(store.idleMarks(5000, 10, all), [])
})

t.test('marks outlive clean stops, removals and restarts, and are idle after an opening', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  await host.write(store, 1, 1, 0, bytes)
  await host.ask(done => store.remove(1, 1, done))
  await host.ask(done => store.markClean(done))
  await host.close(store)
  const again = await host.open()
  t.same(again.markedOf(1, 0, 9, 1), [0, 1])
  t.equal(await clearIdle(host, again), 2)
  await host.ask(done => again.markClean(done))
  host.losePower()
  t.equal((await host.open()).markedCount(), 0)
})

t.test('dropVolume: the marks go with it, also of chunks that were removed, thousands of them', async t => {
  const { host, store } = await openNew()
  for (const chunk of [0, 1, 2]) await host.write(store, 1, chunk, 0, bytes)
  await host.write(store, 2, 0, 0, bytes)
  await host.ask(done => store.remove(1, 1, done))
  await host.ask(done => store.markClean(done))
  await host.close(store)
  await host.changeIndex([...Array(2500).keys()].map(at => ({ put: ['mark', 1, 100 + at], value: 1 })))
  const again = await host.open()
  t.equal(again.markedCount(), 2504)
  t.equal(await host.ask(done => again.dropVolume(1, done)), null)
  t.equal(again.markedCount(), 1)
  await host.ask(done => again.sync(done))
  host.losePower()
  const third = await host.open()
  t.same(third.volumes(), [2])
  t.same(third.markedOf(1, 0, 5000, 1), [])
})

t.test('close: a change that waits for its mark is answered', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  await clearIdle(host, store)
  const answers: (StoreError | null)[] = []
  store.write(1, 0, 0, [bytes], error => answers.push(error))
  await host.close(store)
  t.equal(answers.length, 1)
})

t.test(
  'open: a device of before marks: after a clean stop none are needed, after any other everything is marked',
  async t => {
    for (const clean of [true, false]) {
      const { host, store } = await openNew()
      for (const chunk of [0, 5]) await host.write(store, 1, chunk, 0, bytes)
      if (clean) await host.ask(done => store.markClean(done))
      await host.close(store)
      await host.changeIndex([{ put: ['format'], value: 1 }, { drop: ['mark', 1, 0] }, { drop: ['mark', 1, 5] }])
      const wanted = clean ? [] : [0, 5]
      t.same((await host.open()).markedOf(1, 0, 9, 1), wanted)
      host.losePower()
      t.same((await host.open()).markedOf(1, 0, 9, 1), wanted)
    }
  },
)

t.test('open: a mark that names no chunk is a damaged device', async t => {
  const { host, store } = await openNew()
  await host.close(store)
  await host.changeIndex([{ put: ['mark', 1, 'x'], value: 1 }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /mark\/1\/x/ })
})
