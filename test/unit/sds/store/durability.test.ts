import t from 'tap'
import { MiB } from '../../../../src/base/units.js'
import type { DeviceStore, StoreError } from '../../../../src/sds/store/index.js'
import { deviceId, indexDirectory, path, StoreHost, stamped } from './store-host.js'

async function openNew(slots = 4): Promise<{ host: StoreHost; store: DeviceStore }> {
  const host = await StoreHost.withDevice({ slots })
  return { host, store: await host.open() }
}

const bytes = stamped('kept', 8192)

t.test('write: answered, it survives the end of the process', async t => {
  const { host, store } = await openNew()
  t.equal(await host.write(store, 1, 0, 0, bytes), null)
  host.kill()
  const again = await host.open()
  t.ok((await host.readBytes(again, 1, 0, 0, 8192)).equals(bytes))
})

t.test('sync: what was answered before it survives a power loss', async t => {
  for (let seed = 1; seed <= 20; seed++) {
    const host = await StoreHost.withDevice({ slots: 4, seed })
    const store = await host.open()
    await host.write(store, 1, 0, 0, bytes)
    t.equal(await host.ask(done => store.sync(done)), null)
    host.losePower()
    const again = await host.open()
    t.ok((await host.readBytes(again, 1, 0, 0, 8192)).equals(bytes))
  }
})

t.test('sync: calls that come while one is under way share the next one', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  const disk = host.file
  let syncs = 0
  const real = disk.sync.bind(disk)
  disk.sync = moment => {
    syncs++
    real(moment)
  }
  let answers = 0
  const done = (error: StoreError | null) => {
    t.equal(error, null)
    answers++
  }
  store.sync(done)
  store.write(1, 0, 0, [bytes], error => {
    t.equal(error, null)
    for (let at = 0; at < 10; at++) store.sync(done)
  })
  await host.clock.runFor(100)
  t.equal(answers, 11)
  t.equal(syncs, 2)
})

t.test('sync: costs nothing when nothing was changed since the last one', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  await host.ask(done => store.sync(done))
  host.disks.fail(path, { operation: 'sync', error: 'EIO' })
  t.equal(await host.ask(done => store.sync(done)), null)
})

t.test('sync: one that failed condemns the device; it is never asked again', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  host.disks.fail(path, { operation: 'sync', error: 'EIO', times: 1 })
  t.same(await host.ask(done => store.sync(done)), { kind: 'media', errno: 'EIO' })
  t.equal(store.failed, 'EIO')
  t.same(host.failures, ['EIO'])
  t.same(await host.ask(done => store.sync(done)), { kind: 'media', errno: 'EIO' }, 'though the disk would say yes now')
  t.same(await host.ask(done => store.write(1, 0, 0, [bytes], done)), { kind: 'media', errno: 'EIO' })
  t.same(await host.ask(done => store.markClean(done)), { kind: 'media', errno: 'EIO' })
  t.ok((await host.readBytes(store, 1, 0, 0, 8192)).equals(bytes), 'reads go on')
  t.same(host.failures, ['EIO'], 'and it is reported once')
})

t.test(
  'sync: after one that failed the next opening knows that writes may be lost, though the host goes on',
  async t => {
    const { host, store } = await openNew()
    await host.write(store, 1, 0, 0, bytes)
    host.disks.fail(path, { operation: 'sync', error: 'EIO', times: 1 })
    await host.ask(done => store.sync(done))
    await host.close(store)
    t.match((await host.open()).opened, { cleanStop: false, sameBoot: false })
  },
)

t.test('sync: an error that a killed process left for the next one is a loss as well', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  host.kill()
  host.disks.fail(path, { operation: 'sync', error: 'EIO', times: 1 })
  await t.rejects(host.open(), { code: 'MEDIA_ERROR' })
  t.match((await host.open()).opened, { cleanStop: false, sameBoot: false })
})

t.test('write: one that failed fails the device', async t => {
  const { host, store } = await openNew()
  host.disks.fail(path, { operation: 'write', error: 'EIO', times: 1 })
  t.same(await host.write(store, 1, 0, 0, bytes), { kind: 'media', errno: 'EIO' })
  t.equal(store.failed, 'EIO')
})

t.test('write: after one that failed the next opening knows whether what was answered before may be lost', async t => {
  for (const [error, sameBoot] of [
    ['EIO', false],
    ['ENOSPC', true],
    ['EDQUOT', true],
  ] as const) {
    const { host, store } = await openNew()
    await host.write(store, 1, 0, 0, bytes)
    host.disks.fail(path, { operation: 'write', error, times: 1 })
    t.same(await host.write(store, 1, 0, 0, stamped('lost', 8192)), { kind: 'media', errno: error })
    t.same(host.failures, [error])
    await host.close(store)
    const again = await host.open()
    t.match(again.opened, { cleanStop: false, sameBoot }, error)
    t.ok((await host.readBytes(again, 1, 0, 0, 8192)).equals(bytes))
  }
})

t.test('erase: after one that failed the next opening knows whether what was answered before may be lost', async t => {
  for (const [error, sameBoot] of [
    ['EIO', false],
    ['ENOSPC', true],
  ] as const) {
    const { host, store } = await openNew()
    for (const chunk of [0, 1]) await host.write(store, 1, chunk, 0, bytes)
    host.disks.fail(path, { operation: 'erase', error, times: 1 })
    t.equal(await host.ask(done => store.remove(1, 0, done)), null)
    await host.clock.runFor(1000)
    t.same(host.failures, [error])
    await host.close(store)
    const again = await host.open()
    t.match(again.opened, { cleanStop: false, sameBoot }, error)
    t.ok((await host.readBytes(again, 1, 1, 0, 8192)).equals(bytes))
  }
})

t.test(
  'sync: one that finds no room for what was answered is a loss, before and after a write that finds none',
  async t => {
    for (const slower of ['sync', 'write'] as const) {
      const { host, store } = await openNew()
      await host.write(store, 1, 0, 0, bytes)
      for (const operation of ['write', 'sync'] as const)
        host.disks.fail(path, { operation, error: 'ENOSPC', times: 1 })
      const ended: string[] = []
      host.disks.slow(path, slower === 'write' ? 100 : 0)
      store.write(1, 0, 0, [bytes], () => ended.push('write'))
      host.disks.slow(path, slower === 'sync' ? 100 : 0)
      store.sync(() => ended.push('sync'))
      await host.clock.runFor(300)
      t.equal(ended[1], slower)
      await host.close(store)
      t.match((await host.open()).opened, { cleanStop: false, sameBoot: false })
    }
  },
)

t.test(
  'read: one that failed is answered with the error; the device goes on, so that the place can be repaired',
  async t => {
    const { host, store } = await openNew()
    await host.write(store, 1, 0, 0, bytes)
    host.disks.fail(path, { operation: 'read', error: 'EIO', times: 1 })
    const target = Buffer.alloc(4096)
    t.same(await host.ask(done => store.read(1, 0, 0, target, done)), { kind: 'media', errno: 'EIO' })
    t.equal(store.failed, null)
    t.equal(await host.ask(done => store.write(1, 0, 0, [bytes], done)), null)
  },
)

t.test('write: the index refuses the entry: an error, the device goes on, and the chunk is not there', async t => {
  const { host, store } = await openNew(1)
  await host.write(store, 1, 0, 0, bytes)
  await host.ask(done => store.remove(1, 0, done))
  await host.clock.runFor(1000)
  host.metaStores.fail(`${indexDirectory}/${deviceId}`, 'MDB_MAP_FULL')
  t.match(await host.write(store, 1, 1, 0, stamped('lost', 4096)), { kind: 'meta' })
  host.metaStores.fail(`${indexDirectory}/${deviceId}`, null)
  t.equal(store.failed, null)
  t.notOk(store.has(1, 1))
  t.equal(await host.ask(done => store.remove(1, 1, done)), null, 'its slot is given back')
  t.equal(await host.write(store, 2, 0, 8192, bytes), null)
  t.ok(
    (await host.readBytes(store, 2, 0, 0, 8192)).equals(Buffer.alloc(8192)),
    'and is erased before the next chunk has it',
  )
})

t.test('clean stop: only after markClean, and gone before the first change', async t => {
  const { host, store } = await openNew()
  t.match(store.opened, { cleanStop: true, sameBoot: true })
  t.notOk(store.dirty)
  await host.write(store, 1, 0, 0, bytes)
  t.ok(store.dirty)
  t.equal(await host.ask(done => store.markClean(done)), null)
  t.notOk(store.dirty)
  host.losePower()

  const second = await host.open()
  t.match(second.opened, { cleanStop: true, sameBoot: false })
  t.ok((await host.readBytes(second, 1, 0, 0, 8192)).equals(bytes), 'a clean stop syncs')
  await host.ask(done => second.write(1, 0, 0, [bytes], done))
  host.losePower()
  t.match((await host.open()).opened, { cleanStop: false, sameBoot: false })
})

t.test('clean stop: a process that changes nothing leaves what an earlier stop said, be it good or bad', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  host.losePower()
  for (let time = 0; time < 3; time++) {
    const idle = await host.open()
    t.match(idle.opened, { cleanStop: false, sameBoot: false }, 'the loss is not forgotten because it was looked at')
    host.kill()
  }
  const store2 = await host.open()
  await host.ask(done => store2.markClean(done))
  host.kill()
  for (let time = 0; time < 3; time++) {
    t.match((await host.open()).opened, { cleanStop: true, sameBoot: true })
    host.losePower()
    host.bootId = 'boot-2'
  }
})

t.test('clean stop: no data are written before the flag is durably gone', async t => {
  const { host, store } = await openNew()
  store.reserve(1, 0, 'thin', false)
  host.metaStores.flushDelayMs = 500
  let answered = false
  store.write(1, 0, 0, [bytes], () => {
    answered = true
  })
  await host.clock.runFor(400)
  t.equal(host.peek(MiB, MiB).indexOf('kept'), -1)
  t.notOk(answered)
  await host.clock.runFor(2000)
  t.ok(answered)
})

t.test('clean stop: a change that comes while it is being marked waits, and unmarks it', async t => {
  const { host, store } = await openNew()
  await host.write(store, 1, 0, 0, bytes)
  const order: string[] = []
  store.markClean(error => order.push(`clean ${error}`))
  store.write(1, 0, 0, [bytes], error => order.push(`write ${error}`))
  await host.clock.runFor(500)
  t.same(order, ['clean null', 'write null'])
  t.ok(store.dirty)
  host.kill()
  t.equal((await host.open()).opened.cleanStop, false)
})

t.test('clean stop: what was not erased yet is remembered, what was erased need not be again', async t => {
  const { host, store } = await openNew(4)
  for (let chunk = 0; chunk < 4; chunk++) await host.write(store, 1, chunk, 0, stamped(`secret ${chunk}`, MiB))
  await host.ask(done => store.remove(1, 2, done))
  // Before the eraser comes round:
  t.equal(await host.ask(done => store.markClean(done)), null)
  host.losePower()
  const again = await host.open()
  t.equal(again.opened.cleanStop, true)
  t.equal(await host.write(again, 2, 0, 4096, bytes), null)
  t.equal((await host.readBytes(again, 2, 0, 0, MiB)).indexOf('secret'), -1)
})

t.test('slots: after a stop that was not clean, every free one is erased again before it is used', async t => {
  for (let seed = 1; seed <= 20; seed++) {
    const host = await StoreHost.withDevice({ slots: 2, seed })
    const store = await host.open()
    await host.write(store, 1, 0, 0, stamped('secret', MiB))
    host.losePower()
    const again = await host.open()
    for (const chunk of [1, 2])
      if (again.reserve(2, chunk, 'thin', false))
        t.equal(await host.ask(done => again.write(2, chunk, 0, [stamped('mine', 4096)], done)), null)
    for (const chunk of again.chunksOf(2, 0, 9, 1))
      t.equal((await host.readBytes(again, 2, chunk, 0, MiB)).indexOf('secret'), -1, `seed ${seed}`)
  }
})

t.test('slots: a device that fails while a chunk waits for its slot answers the waiting write', async t => {
  const { host, store } = await openNew(1)
  await host.write(store, 1, 0, 0, bytes)
  await host.ask(done => store.remove(1, 0, done))
  host.disks.fail(path, { operation: 'erase', error: 'EIO' })
  t.ok(store.reserve(1, 1, 'thin', false), 'a slot that is still to be erased is not refused')
  t.same(await host.ask(done => store.write(1, 1, 0, [bytes], done)), { kind: 'media', errno: 'EIO' })
  t.same(host.failures, ['EIO'])
  await host.close(store)
})
