import t from 'tap'
import { KiB, MiB } from '../../../../src/base/units.js'
import type { DeviceStore, StoreError } from '../../../../src/sds/store/index.js'
import { StoreHost, stamped } from './store-host.js'

async function openNew(options: StoreHost['options'] = { slots: 8 }): Promise<{ host: StoreHost; store: DeviceStore }> {
  const host = await StoreHost.withDevice(options)
  return { host, store: await host.open() }
}

t.test('read: a chunk without a slot, or with one only reserved, reads as zeroes', async t => {
  const { host, store } = await openNew()
  t.ok((await host.readBytes(store, 1, 0, 3, 1000)).equals(Buffer.alloc(1000)))
  t.ok(store.reserve(1, 0, 'thin', false))
  t.notOk(store.has(1, 0))
  t.ok((await host.readBytes(store, 1, 0, 0, MiB)).equals(Buffer.alloc(MiB)))
})

for (const direct of [true, false])
  t.test(
    `write: any range, aligned or not, reads back, and zeroes around it (${direct ? 'direct' : 'buffered'})`,
    async t => {
      const { host, store } = await openNew({ slots: 8, direct })
      const want = Buffer.alloc(MiB)
      const ranges = [
        [4096, 8192],
        [0, 1],
        [4095, 2],
        [5000, 300],
        [1000, 20_000],
        [MiB - 700, 700],
        [511, 513],
        [8192, 4096],
      ] as const
      for (const [at, [offset, length]] of ranges.entries()) {
        const bytes = stamped(`write ${at}`, length)
        bytes.copy(want, offset)
        if (!store.has(1, 5)) t.ok(store.reserve(1, 5, 'thin', false))
        const pieces = [bytes.subarray(0, length >> 1), bytes.subarray(length >> 1)]
        t.equal(await host.ask(done => store.write(1, 5, offset, pieces, done)), null)
        t.ok((await host.readBytes(store, 1, 5, 0, MiB)).equals(want), `${length} bytes at ${offset}`)
        t.ok((await host.readBytes(store, 1, 5, offset, length)).equals(bytes), 'and by itself')
      }
    },
  )

for (const direct of [true, false])
  t.test(
    `zero: any range reads as zeroes, the rest stays, and so does the slot (${direct ? 'direct' : 'buffered'})`,
    async t => {
      const { host, store } = await openNew({ slots: 8, direct })
      const want = stamped('full', MiB)
      t.equal(await host.write(store, 1, 5, 0, want), null)
      for (const [offset, length] of [
        [4096, 4096],
        [100, 50],
        [10_000, 200_000],
        [300 * KiB, 64 * KiB],
        [MiB - 5, 5],
        [0, MiB],
      ] as const) {
        want.fill(0, offset, offset + length)
        t.equal(await host.ask(done => store.zero(1, 5, offset, length, done)), null)
        t.ok((await host.readBytes(store, 1, 5, 0, MiB)).equals(want), `${length} bytes at ${offset}`)
      }
      t.ok(store.has(1, 5))
    },
  )

t.test('zero: a reserved chunk becomes one that is there and reads as zeroes', async t => {
  const { host, store } = await openNew()
  t.ok(store.reserve(1, 5, 'thick', false))
  t.equal(await host.ask(done => store.zero(1, 5, 0, MiB, done)), null)
  t.ok(store.has(1, 5))
  t.match(store.usage(), { thickChunks: 1, thinChunks: 0, slotsUsed: 1 })
})

t.test('a write keeps its neighbours in the block when both are written at once in different blocks', async t => {
  const { host, store } = await openNew()
  t.equal(await host.write(store, 1, 0, 0, stamped('under', 16 * KiB)), null)
  const both = await Promise.all([
    host.begin(done => store.write(1, 0, 100, [stamped('a', 100)], done)),
    host.begin(done => store.write(1, 0, 5000, [stamped('b', 100)], done)),
    host.clock.runFor(50),
  ])
  t.same(both.slice(0, 2), [null, null])
  const want = stamped('under', 16 * KiB)
  stamped('a', 100).copy(want, 100)
  stamped('b', 100).copy(want, 5000)
  t.ok((await host.readBytes(store, 1, 0, 0, 16 * KiB)).equals(want))
})

t.test('answers: none comes before the call has returned', async t => {
  const { host, store } = await openNew()
  let returned = false
  const done = (error: StoreError | null) => t.ok(returned, JSON.stringify(error))
  store.read(1, 0, 0, Buffer.alloc(10), done)
  store.remove(1, 0, done)
  store.dropVolume(1, done)
  store.sync(done)
  store.reserve(1, 0, 'thin', false)
  store.write(1, 0, 0, [Buffer.alloc(4096)], done)
  returned = true
  await host.clock.runFor(100)
  returned = false
  store.sync(done)
  store.sync(done)
  returned = true
  await host.clock.runFor(100)
})

t.test('reserve: refused at the limit of its kind; the spare goes beyond; the device’s end is the end', async t => {
  const { store } = await openNew({ slots: 5 })
  store.setLimits({ thinChunksMax: 2, thickChunksMax: 1 })
  t.ok(store.reserve(1, 0, 'thin', false))
  t.ok(store.reserve(1, 1, 'thin', false))
  t.notOk(store.reserve(1, 2, 'thin', false), 'a third thin chunk')
  t.ok(store.reserve(2, 0, 'thick', false), 'thick chunks have room of their own')
  t.notOk(store.reserve(2, 1, 'thick', false))
  t.ok(store.reserve(1, 2, 'thin', true), 'a rebuild uses the spare')
  t.ok(store.reserve(2, 1, 'thick', true))
  t.notOk(store.reserve(1, 3, 'thin', true), 'no slot is left')
  t.same(store.usage(), { slotsTotal: 5, slotsUsed: 5, thinChunks: 3, thickChunks: 2 })
  t.ok(store.reserve(1, 0, 'thin', false), 'a chunk that has one keeps it')
  t.equal(store.usage().slotsUsed, 5)
})

t.test('reserve: given back by remove, a slot is free for another chunk', async t => {
  const { host, store } = await openNew({ slots: 1 })
  t.ok(store.reserve(1, 0, 'thin', false))
  t.notOk(store.reserve(1, 1, 'thin', false))
  t.equal(await host.ask(done => store.remove(1, 0, done)), null)
  t.same(store.usage(), { slotsTotal: 1, slotsUsed: 0, thinChunks: 0, thickChunks: 0 })
  t.ok(store.reserve(1, 1, 'thin', false))
})

t.test('remove: the chunk reads as zeroes at once, and its slot is never refused to the next one', async t => {
  const { host, store } = await openNew({ slots: 1 })
  for (let round = 0; round < 5; round++) {
    t.equal(await host.write(store, 1, round, 0, stamped(`round ${round}`, MiB)), null, 'ENOSPC is never claimed')
    t.equal(await host.ask(done => store.remove(1, round, done)), null)
    t.notOk(store.has(1, round))
    t.equal((await host.readBytes(store, 1, round, 0, MiB)).indexOf(1), -1)
  }
})

t.test('remove: the space returns to the host within about a second, without any sync', async t => {
  const { host, store } = await openNew({ slots: 20 })
  for (let chunk = 0; chunk < 20; chunk++) await host.write(store, 1, chunk, 0, stamped('full', MiB))
  t.ok(host.file.allocatedBytes > 20 * MiB)
  const removed = Promise.all([...Array(19).keys()].map(chunk => host.begin(done => store.remove(1, chunk, done))))
  await host.clock.runFor(1000)
  t.same(new Set(await removed), new Set([null]))
  t.ok(host.file.allocatedBytes < 1.1 * MiB, `${host.file.allocatedBytes} bytes are left`)
})

t.test('dropVolume: everything of the volume goes, nothing of others, in pieces', async t => {
  const { host, store } = await openNew({ slots: 40 })
  for (let chunk = 0; chunk < 30; chunk++) await host.write(store, 1, chunk * 999, 0, stamped('one', 4096))
  await host.write(store, 2, 3, 0, stamped('two', 4096))
  store.reserve(1, 7, 'thin', false)
  t.same(store.volumes(), [1, 2])
  t.equal(await host.ask(done => store.dropVolume(1, done)), null)
  t.same(store.volumes(), [2])
  t.same(store.usage(), { slotsTotal: 40, slotsUsed: 1, thinChunks: 1, thickChunks: 0 })
  t.ok((await host.readBytes(store, 2, 3, 0, 4096)).equals(stamped('two', 4096)))
})

t.test('dropVolume: a write under way is finished before its slot is given away', async t => {
  const { host, store } = await openNew({ slots: 1 })
  await host.write(store, 1, 0, 0, stamped('old', 4096))
  host.disks.slow('/dev/sim', 100)
  const order: string[] = []
  store.write(1, 0, 0, [stamped('late', 4096)], () => order.push('write'))
  store.dropVolume(1, () => order.push('drop'))
  t.notOk(store.has(1, 0), 'for everybody else the volume is empty at once')
  t.notOk(store.reserve(1, 9, 'thin', false))
  await host.clock.runFor(2000)
  host.disks.heal('/dev/sim')
  t.same(order, ['write', 'drop'])
  t.ok(store.reserve(2, 0, 'thin', false))
  t.equal(await host.ask(done => store.write(2, 0, 8192, [stamped('new', 4096)], done)), null)
  t.ok((await host.readBytes(store, 2, 0, 0, 8192)).equals(Buffer.alloc(8192)))
})

t.test('chunksOf: what is in the index, of the chunks that are asked for', async t => {
  const { host, store } = await openNew()
  for (const chunk of [1, 5, 1029]) await host.write(store, 1, chunk, 0, stamped('x', 4096))
  store.reserve(1, 9, 'thin', false)
  t.same(store.chunksOf(1, 1, 5000, 4), [1, 5, 1029])
  t.same(store.chunksOf(1, 0, 5000, 1024), [])
  t.same(store.chunksOf(3, 0, 5000, 1), [])
})

t.test('epochs: the highest adopted one is known at once, and after a sync and a power loss', async t => {
  const { host, store } = await openNew()
  store.adoptEpoch(4, 0, 17, false)
  store.adoptEpoch(4, 1, 12, true)
  t.equal(store.epochMax(), 17)
  t.equal(await host.ask(done => store.sync(done)), null)
  host.losePower()
  const opened = await host.open()
  t.equal(opened.epochMax(), 17)
  t.same(opened.knownEpochs(), [
    { pool: 4, slice: 0, epoch: 17, inSync: false },
    { pool: 4, slice: 1, epoch: 12, inSync: true },
  ])
})

t.test('close: finishes what is under way, refuses what comes then, and may be called twice', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, stamped('x', 4096))
  const answers: (StoreError | null)[] = []
  store.write(1, 0, 0, [stamped('y', 4096)], error => answers.push(error))
  store.remove(1, 7, error => answers.push(error))
  store.sync(error => answers.push(error))
  const closed = Promise.all([store.close(), store.close()])
  store.write(1, 0, 0, [stamped('z', 4096)], error => answers.push(error))
  t.notOk(store.reserve(1, 1, 'thin', false))
  await host.clock.finish(closed)
  t.equal(answers.length, 4)
  t.equal(answers.filter(error => error === null).length, 3)
  t.equal(store.failed, null, 'a closed device has not failed')
  const again = await host.open()
  t.ok((await host.readBytes(again, 1, 0, 0, 4096)).equals(stamped('y', 4096)))
})
