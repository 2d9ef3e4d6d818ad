import t from 'tap'
import { MiB } from '../../../../src/base/units.js'
import type { DeviceStore } from '../../../../src/sds/store/index.js'
import { StoreHost, stamped } from './store-host.js'

const slotsBefore = 3
const slotsAfter = 7

/** A raw disk is not empty where it has grown. */
function growDisk(host: StoreHost): void {
  host.file.sizeBytes = (slotsAfter + 1) * MiB
  host.changeBytes((slotsBefore + 1) * MiB, Buffer.alloc((slotsAfter - slotsBefore) * MiB, 0xdd))
}

async function deviceInUse(seed = 1): Promise<{ host: StoreHost; store: DeviceStore }> {
  const host = await StoreHost.withDevice({ slots: slotsBefore, seed })
  const store = await host.open()
  await host.write(store, 1, 0, 0, stamped('old', 4096))
  return { host, store }
}

/** Every slot takes a chunk, and nothing but what was written shows. */
async function isWhole(host: StoreHost, store: DeviceStore, slots: number): Promise<boolean> {
  if (store.capacityBytes !== slots * MiB || store.usage().slotsTotal !== slots) return false
  if (!(await host.readBytes(store, 1, 0, 0, 4096)).equals(stamped('old', 4096))) return false
  for (let chunk = 1; chunk < slots; chunk++) {
    if ((await host.write(store, 2, chunk, 0, stamped('new', 4096))) !== null) return false
    if (!(await host.readBytes(store, 2, chunk, 4096, MiB - 4096)).equals(Buffer.alloc(MiB - 4096))) return false
  }
  return (await host.write(store, 3, 0, 0, stamped('one too many', 4096)))?.kind === 'full'
}

for (const isClean of [true, false])
  t.test(
    `a disk that has grown is taken in at opening, after ${isClean ? 'a clean stop' : 'SIGKILL'}; what lay there is not shown`,
    async t => {
      const { host, store } = await deviceInUse()
      if (isClean) {
        await host.ask(done => store.markClean(done))
        await host.close(store)
      } else host.kill()
      growDisk(host)
      const grown = await host.open()
      t.equal(grown.opened.cleanStop, isClean, 'the stop is reported as it was')
      t.ok(await isWhole(host, grown, slotsAfter))
    },
  )

t.test('a disk that grows while it is open is taken in when asked for', async t => {
  const { host, store } = await deviceInUse()
  await host.clock.finish(store.grow())
  t.equal(store.capacityBytes, slotsBefore * MiB, 'nothing has grown')
  growDisk(host)
  t.equal(store.capacityBytes, slotsBefore * MiB)
  await host.clock.finish(store.grow())
  t.ok(await isWhole(host, store, slotsAfter))
  await host.ask(done => store.markClean(done))
  await host.close(store)
  const again = await host.open()
  t.equal(again.usage().slotsUsed, slotsAfter)
})

t.test('growing, power fails at any moment: the device opens, grown or not yet, with all that it held', async t => {
  for (let ms = 0; ms < 12; ms += 0.4) {
    const { host, store } = await deviceInUse(1 + Math.round(ms * 10))
    await host.ask(done => store.sync(done))
    growDisk(host)
    store.grow().catch(() => {})
    await host.clock.runFor(ms)
    host.losePower()
    const disk = await host.openDisk()
    host.beginOpen(disk).catch(() => {})
    await host.clock.runFor(ms)
    host.losePower()
    t.ok(await isWhole(host, await host.open(), slotsAfter), `after ${ms.toFixed(1)} ms`)
  }
})

t.test('a write to the label that fails while growing fails the device', async t => {
  const { host, store } = await deviceInUse()
  growDisk(host)
  host.disks.fail('/dev/sim', { operation: 'write', error: 'EIO' })
  await t.rejects(host.clock.finish(store.grow()), { code: 'MEDIA_ERROR' })
  t.equal(store.failed, 'EIO')
})
