import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { KiB, MiB } from '../../src/base/units.js'
import { indexBytesFor, markKey } from '../../src/core/store/index.js'
import { lmdbStores } from '../../src/io/meta-store.js'
import type { MetaStore, MetaWrite } from '../../src/ports/index.js'
import { fileSystemsUnavailable, SmallFileSystem } from '../soak/disks.js'

/** The index of a device on a file system that something else fills. */

const slots = 8_000
const fileSystemBytes = 64 * MiB

const dir = mkdtempSync(join(tmpdir(), 'blockmesh-index-room-'))
t.teardown(() => rmSync(dir, { recursive: true, force: true }))
const unavailable = await fileSystemsUnavailable(dir)

const commit = (store: MetaStore, writes: MetaWrite[]): Promise<string | null> =>
  new Promise(resolve => store.commit(writes, resolve))
const flush = (store: MetaStore): Promise<string | null> => new Promise(resolve => store.flush(resolve))

/** Marks and entries of these chunks, a few at a time as clients write. */
async function fillUp(store: MetaStore, from: number, count: number): Promise<string | null> {
  for (let at = from; at < from + count; at += 32) {
    const writes: MetaWrite[] = []
    for (let chunk = at; chunk < at + 32; chunk++) {
      // Not in the order of keys, so that pages split as they do in use.
      const spread = (chunk * 7919) % 1_000_003
      writes.push({ put: markKey(1, spread), value: 1 }, { put: ['chunk', 1, spread], value: chunk })
    }
    const error = await commit(store, writes)
    if (error !== null) return error
  }
  return flush(store)
}

t.test('the index of a device on a full file system', { skip: unavailable ?? false }, async t => {
  const small = await SmallFileSystem.make(join(dir, 'small'), join(dir, 'image'), fileSystemBytes)
  t.teardown(() => small.close())

  await t.test('takes marks and entries of all slots, as its room was set aside, and gives them up again', async t => {
    const store = await lmdbStores.open(join(small.dir, 'reserved'))
    t.equal(await store.reserve(indexBytesFor(slots)), null)
    const giveBack = await small.fill()
    t.equal(await fillUp(store, 0, slots), null)
    t.equal(
      await commit(
        store,
        [...store.range(['mark'])].map(({ key }) => ({ drop: key })),
      ),
      null,
    )
    t.equal(await flush(store), null)
    t.equal(await fillUp(store, 0, slots), null, 'again and again')
    giveBack()
    await store.close()
  })

  await t.test('without that, refuses what it has no room for, whole, and goes on when there is room', async t => {
    const store = await lmdbStores.open(join(small.dir, 'bare'))
    t.equal(await fillUp(store, 0, 320), null)
    const giveBack = await small.fill()
    const error = await fillUp(store, 320, slots)
    t.match(error, /No space left|may be full/)
    t.match(await store.reserve(indexBytesFor(slots)), /ENOSPC/, 'nor can room be set aside now')
    const marks = [...store.range(['mark'])].length
    t.equal(marks % 32, 0, 'of what failed nothing is there')
    giveBack()
    t.equal(await fillUp(store, 320, slots), null)
    t.equal([...store.range(['mark'])].length, slots + 320)
    await store.close()
  })

  await t.test('so, too, where there is room for a part of what is written at once', async t => {
    const store = await lmdbStores.open(join(small.dir, 'part'))
    const errors: (string | null)[] = []
    // Not from nothing: where there is no room for a single page, lmdb 3.5 ends the process now and then, as its report is longer
    // than the 100 bytes that it has for it (mdb_page_flush).
    t.equal(await fillUp(store, 500_000, 320), null)
    for (let at = 0; at < 24; at++) {
      const giveBack = await small.fill((1 + at) * KiB)
      const error = await fillUp(store, at * slots, slots)
      t.match(error, /No space left|may be full/)
      errors.push(error)
      t.equal([...store.range(['mark'])].length % 32, 0, 'of what failed nothing is there')
      giveBack()
    }
    t.ok(
      errors.some(error => error?.includes('may be full')),
      'of some a part was written, of which lmdb says EIO',
    )
    t.equal(await fillUp(store, 24 * slots, 32), null)
    await store.close()
  })
})
