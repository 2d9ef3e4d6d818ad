import t from 'tap'
import type { DeviceId, SystemId } from '../../../../src/base/ids.js'
import { KiB, MiB } from '../../../../src/base/units.js'
import { releaseDevice } from '../../../../src/sds/store/index.js'
import { deviceId, indexDirectory, path, StoreHost, stamped, systemId } from './store-host.js'

const otherSystem = '9999888800000000' as SystemId
const otherDevice = '1111222200000008' as DeviceId

t.test('identify: a blank disk has no identity, a new device has its own', async t => {
  const host = new StoreHost({ slots: 4 })
  t.equal(await host.identify(), null)
  await host.create()
  t.same(await host.identify(), { systemId, deviceId, capacityBytes: 4 * MiB })
})

t.test('identify: a disk with something else on it is named', async t => {
  const host = new StoreHost({ slots: 4 })
  await host.identify()
  host.changeBytes(1080, Buffer.from([0x53, 0xef]))
  await t.rejects(host.identify(), { code: 'DEVICE_FOREIGN', message: /\/dev\/sim.*ext4/ })
})

t.test('create: a disk that is not blank is refused with nothing changed, unless forced', async t => {
  const host = new StoreHost({ slots: 4 })
  await host.identify()
  host.changeBytes(600 * KiB, Buffer.from('precious'))
  await t.rejects(host.create(), { code: 'DEVICE_FOREIGN', message: /unknown kind/ })
  t.equal(host.peek(600 * KiB, 8).toString(), 'precious')
  await host.create({ force: true })
  t.match(await host.identify(), { deviceId })
})

t.test('create: a device of another system is refused by name', async t => {
  const host = new StoreHost({ slots: 4 })
  await host.create({ systemId: otherSystem })
  await t.rejects(host.create(), { code: 'DEVICE_FOREIGN', message: new RegExp(otherSystem) })
})

t.test('create: the same disk as a second device of one system is refused by name', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await t.rejects(host.create({ deviceId: otherDevice }), { code: 'ALREADY_EXISTS', message: new RegExp(deviceId) })
})

t.test('create: again for a device without chunks begins anew, for one with chunks it is refused', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await host.create()
  const store = await host.open()
  await host.close(store)
  await host.create()
  const again = await host.open()
  t.equal(await host.write(again, 1, 0, 0, stamped('a', 4096)), null)
  await host.close(again)
  await t.rejects(host.create(), { code: 'IN_USE' })
  await host.create({ force: true })
  const fresh = await host.open()
  t.notOk(fresh.has(1, 0), 'forced, it is empty')
  t.equal(await host.write(fresh, 1, 1, 4096, stamped('b', 4096)), null)
  t.ok((await host.readBytes(fresh, 1, 1, 0, 4096)).equals(Buffer.alloc(4096)), 'and nothing old shows through')
})

t.test('create: interrupted anywhere, it can be repeated', async t => {
  for (let ms = 0; ms < 20; ms += 0.7) {
    const host = new StoreHost({ slots: 2, seed: Math.round(ms * 10) })
    const disk = await host.openDisk()
    host.beginCreate(disk).catch(() => {})
    await host.clock.runFor(ms)
    host.losePower()
    await host.create()
    const store = await host.open()
    t.equal(await host.write(store, 1, 0, 0, stamped('a', 4096)), null, `interrupted after ${ms} ms`)
  }
})

t.test('open: a blank disk, and a device of another system, are refused by name', async t => {
  const host = new StoreHost({ slots: 4 })
  await t.rejects(host.open(), { code: 'NOT_FOUND', message: /blank/ })
  await host.create()
  await t.rejects(host.open({ systemId: otherSystem }), { code: 'DEVICE_FOREIGN', message: new RegExp(systemId) })
})

t.test('open: a disk that is open already is refused', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await host.open()
  await t.rejects(host.open(), { code: 'DEVICE_BUSY' })
})

t.test('open: a superblock that is damaged is replaced by the other; two are a damaged device', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  host.changeBytes(40, Buffer.from('scribble'))
  await host.close(await host.open())
  t.match(await host.identify(), { deviceId })
  for (const offset of [40, 512 * KiB + 40]) host.changeBytes(offset, Buffer.from('scribble'))
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /superblocks/ })
})

t.test('open: without its index a device is damaged', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  const moved = new StoreHost({ slots: 4 })
  await moved.identify()
  moved.disks.files.set(path, host.disks.files.get(path)!)
  await t.rejects(moved.open(), { code: 'DEVICE_DAMAGED', message: /index is missing/ })
})

t.test('open: an index that is older than its device, or newer, or of another device, is a damaged device', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await host.close(await host.open())
  await host.close(await host.open())
  await host.changeIndex([{ put: ['counter'], value: 1 }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /index is older/ })
  await host.changeIndex([{ put: ['counter'], value: 4 }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /older than its index/ })
  await host.changeIndex([{ put: ['counter'], value: 3 }])
  await host.close(await host.open())
  await host.changeIndex([{ put: ['device'], value: [systemId, otherDevice] }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: new RegExp(otherDevice) })
})

t.test('open: an index of a later format is newer, not damaged', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await host.changeIndex([{ put: ['format'], value: 4 }])
  await t.rejects(host.open(), { code: 'DEVICE_NEWER', context: { remedy: /upgrade this server/ } })
})

t.test('open: an index of an earlier format is upgraded, step by step, and stays upgraded', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  for (const format of [1, 2]) {
    await host.changeIndex([
      { put: ['format'], value: format },
      { put: ['epoch', 4, 7], value: 12 },
    ])
    const store = await host.open()
    t.equal(store.epochMax(), 12)
    t.same(store.knownEpochs(), [{ pool: 4, slice: 7, epoch: 12, inSync: true }], 'as nobody knew better then')
    await host.close(store)
    t.equal(await host.readIndex(['format']), 3)
  }
  await host.changeIndex([{ put: ['format'], value: 0 }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /no valid format/ })
})

t.test('open: two chunks in one slot, and a chunk beyond the end, are a damaged device that names them', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await host.changeIndex([
    { put: ['chunk', 3, 70], value: 2 },
    { put: ['chunk', 4, 5], value: 3 },
  ])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /70 of volume 3 and 5 of volume 4/ })
  await host.changeIndex([{ put: ['chunk', 4, 5], value: 8 }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /chunk 5 of volume 4/ })
})

t.test('open: a disk that has shrunk is a damaged device', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  host.disks.files.get(path)!.sizeBytes = 4 * MiB
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED', message: /shrunk/ })
})

t.test('open: a failed opening lets go of disk and index', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  await host.changeIndex([{ put: ['counter'], value: 7 }])
  await t.rejects(host.open(), { code: 'DEVICE_DAMAGED' })
  await host.changeIndex([{ put: ['counter'], value: 0 }])
  await host.open()
})

t.test('release: the disk is blank again and may become another device', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  const store = await host.open()
  await host.write(store, 1, 0, 0, stamped('secret', 4096))
  await host.close(store)
  const { metaStores } = host
  const release = (id: DeviceId) =>
    host.withDisk(disk => releaseDevice({ disk, metaStores, indexDirectory, systemId, deviceId: id }))
  await t.rejects(release(otherDevice), { code: 'DEVICE_FOREIGN' })
  await release(deviceId)
  t.equal(await host.identify(), null)
  await host.create({ deviceId: otherDevice })
  const other = await host.open()
  await host.write(other, 1, 0, 8192, stamped('new', 4096))
  t.ok((await host.readBytes(other, 1, 0, 0, 8192)).equals(Buffer.alloc(8192)), 'nothing old shows through')
})

t.test(
  'create, grow: where there is no room for the index of all slots, nothing is begun, and the error says so',
  async t => {
    const host = new StoreHost({ slots: 4 })
    host.metaStores.roomBytes = 4 * MiB
    await t.rejects(host.create(), { code: 'OUT_OF_SPACE', message: /index.*make room there/ })
    t.equal(await host.identify(), null)
    host.metaStores.roomBytes = 5 * MiB
    await host.create()
    const store = await host.open()
    host.metaStores.roomBytes = 4 * MiB
    host.file.sizeBytes += 4 * MiB
    await t.rejects(host.clock.finish(store.grow()), { code: 'OUT_OF_SPACE' })
    t.equal(store.capacityBytes, 4 * MiB)
    t.equal(await host.write(store, 1, 0, 0, stamped('as before', 4096)), null)
  },
)

t.test('open: a device whose index has no room set aside is opened all the same, and people hear of it', async t => {
  const host = await StoreHost.withDevice({ slots: 4 })
  host.metaStores.roomBytes = 0
  const store = await host.open()
  t.same(host.unreserved, ['OUT_OF_SPACE'])
  t.equal(await host.write(store, 1, 0, 0, stamped('still', 4096)), null)
})
