import { randomFillSync } from 'node:crypto'
import t, { type Test } from 'tap'
import { StorageError } from '../../src/base/errors.js'
import { KiB, MiB } from '../../src/base/units.js'
import type { Disk, DiskPort } from '../../src/ports/disk.js'

/** What a contract run needs of an implementation. */
export interface DiskSetUp {
  port: DiskPort
  /** A path at which nothing exists yet. */
  path: string
  direct: boolean
  /** Undoes it; called when the test is over and all disks are closed. */
  tearDown?(): Promise<void>
}

const diskBytes = 16 * MiB

/** What every implementation of `DiskPort` promises. `openPort` is called once per test. */
export function diskContract(name: string, openPort: () => Promise<DiskSetUp>): void {
  const onDisk = (title: string, body: (t: Test, disk: Disk, setUp: DiskSetUp) => Promise<void>): void => {
    t.test(`${name}: ${title}`, async t => {
      const setUp = await openPort()
      const disk = await setUp.port.open(setUp.path, { createBytes: diskBytes, direct: setUp.direct })
      t.teardown(async () => {
        await disk.close()
        await setUp.tearDown?.()
      })
      await body(t, disk, setUp)
    })
  }

  onDisk('a new disk has the size that was asked for and reads as zeroes', async (t, disk, setUp) => {
    t.equal(disk.sizeBytes, diskBytes)
    t.equal(disk.path, setUp.path)
    t.ok([1, 512, 4 * KiB].includes(disk.alignBytes), `alignBytes ${disk.alignBytes}`)
    const target = Buffer.alloc(1 * MiB, 0xff)
    t.equal(await read(disk, 5 * MiB, target), null)
    t.ok(isZero(target))
  })

  onDisk('what is written is read back, also after closing and opening again', async (t, disk, setUp) => {
    const written = randomBytes(64 * KiB)
    t.equal(await write(disk, 128 * KiB, [written]), null)
    t.equal(await sync(disk), null)
    const target = Buffer.alloc(64 * KiB)
    t.equal(await read(disk, 128 * KiB, target), null)
    t.ok(target.equals(written))
    await disk.close()
    const again = await setUp.port.open(setUp.path, { direct: setUp.direct })
    t.equal(again.sizeBytes, diskBytes)
    target.fill(0)
    t.equal(await read(again, 128 * KiB, target), null)
    t.ok(target.equals(written))
    await again.close()
  })

  onDisk('createBytes leaves an existing disk as it is', async (t, disk, setUp) => {
    const written = randomBytes(4 * KiB)
    t.equal(await write(disk, 0, [written]), null)
    await disk.close()
    const again = await setUp.port.open(setUp.path, { createBytes: 2 * diskBytes, direct: setUp.direct })
    t.equal(again.sizeBytes, diskBytes)
    const target = Buffer.alloc(4 * KiB)
    t.equal(await read(again, 0, target), null)
    t.ok(target.equals(written))
    await again.close()
  })

  onDisk('a write in pieces of odd lengths at odd addresses lands as one range', async (t, disk) => {
    const whole = randomBytes(3 * MiB)
    const pieces: Buffer[] = []
    for (let at = 0, length = 1; at < whole.length; at += length, length = (length * 7 + 13) % (256 * KiB))
      pieces.push(oddlyPlaced(whole.subarray(at, at + length)))
    t.ok(pieces.length > 10)
    t.equal(await write(disk, 4 * KiB, pieces), null)
    const target = oddlyPlaced(Buffer.alloc(whole.length))
    t.equal(await read(disk, 4 * KiB, target), null)
    t.ok(target.equals(whole))
  })

  onDisk('a write of more pieces than one system call takes lands as one range', async (t, disk) => {
    const whole = randomBytes(3000 * 4)
    const padded = Buffer.concat([whole, Buffer.alloc(12 * KiB - whole.length)])
    const pieces = Array.from({ length: 3072 }, (_, i) => padded.subarray(i * 4, i * 4 + 4))
    t.equal(await write(disk, 0, pieces), null)
    const target = Buffer.alloc(padded.length)
    t.equal(await read(disk, 0, target), null)
    t.ok(target.equals(padded))
  })

  onDisk('200 operations at once all end, each with its own bytes', async (t, disk) => {
    const blocks = Array.from({ length: 200 }, () => randomBytes(8 * KiB))
    const errors = await Promise.all(blocks.map((block, i) => write(disk, i * 8 * KiB, [block])))
    t.ok(errors.every(error => error === null))
    const targets = blocks.map(() => Buffer.alloc(8 * KiB))
    const readErrors = await Promise.all(targets.map((target, i) => read(disk, i * 8 * KiB, target)))
    t.ok(readErrors.every(error => error === null))
    t.ok(targets.every((target, i) => target.equals(blocks[i]!)))
  })

  onDisk('erased ranges read as zeroes and their neighbours are untouched', async (t, disk) => {
    const written = randomBytes(2 * MiB)
    t.equal(await write(disk, 0, [written]), null)
    t.equal(await erase(disk, 512 * KiB, 1 * MiB), null)
    t.equal(await sync(disk), null)
    const target = Buffer.alloc(2 * MiB)
    t.equal(await read(disk, 0, target), null)
    written.fill(0, 512 * KiB, 1536 * KiB)
    t.ok(target.equals(written))
  })

  onDisk('erasing the whole disk makes all of it read as zeroes', async (t, disk) => {
    t.equal(await write(disk, diskBytes - 64 * KiB, [randomBytes(64 * KiB)]), null)
    t.equal(await erase(disk, 0, diskBytes), null)
    const target = Buffer.alloc(diskBytes, 0xff)
    t.equal(await read(disk, 0, target), null)
    t.ok(isZero(target))
  })

  onDisk('ranges beyond the end are errors and make the disk no longer', async (t, disk, setUp) => {
    const block = randomBytes(8 * KiB)
    t.type(await read(disk, diskBytes - 4 * KiB, block), 'string')
    t.type(await write(disk, diskBytes - 4 * KiB, [block]), 'string')
    t.type(await write(disk, diskBytes, [block]), 'string')
    t.type(await erase(disk, diskBytes - 4 * KiB, 8 * KiB), 'string')
    t.equal(await read(disk, diskBytes - 8 * KiB, block), null)
    t.ok(isZero(block), 'nothing of the refused writes is there')
    await disk.close()
    const again = await setUp.port.open(setUp.path, { direct: setUp.direct })
    t.equal(again.sizeBytes, diskBytes)
    await again.close()
  })

  onDisk('completions come after the call has returned, refusals too', async (t, disk) => {
    let isReturned = false
    const ends = [
      new Promise<boolean>(resolve => disk.read(0, Buffer.alloc(4 * KiB), () => resolve(isReturned))),
      new Promise<boolean>(resolve => disk.read(diskBytes, Buffer.alloc(4 * KiB), () => resolve(isReturned))),
      new Promise<boolean>(resolve => disk.sync(() => resolve(isReturned))),
    ]
    isReturned = true
    t.same(await Promise.all(ends), [true, true, true])
  })

  onDisk('a disk that is open cannot be opened a second time, and can once it is closed', async (t, disk, setUp) => {
    await t.rejects(setUp.port.open(setUp.path, { direct: setUp.direct }), { code: 'DEVICE_BUSY' })
    await t.rejects(setUp.port.open(setUp.path, { direct: !setUp.direct, createBytes: diskBytes }), StorageError)
    t.equal(await write(disk, 0, [randomBytes(4 * KiB)]), null, 'the first one goes on')
    await t.rejects(setUp.port.open(setUp.path, { direct: setUp.direct }), { code: 'DEVICE_BUSY' })
    await disk.close()
    const again = await setUp.port.open(setUp.path, { direct: setUp.direct })
    await again.close()
  })

  onDisk('closing waits for what is under way, and may be repeated', async (t, disk) => {
    let endedCount = 0
    for (let i = 0; i < 32; i++) disk.write(i * 256 * KiB, [randomBytes(256 * KiB)], () => endedCount++)
    disk.sync(() => endedCount++)
    const first = disk.close()
    const second = disk.close()
    await first
    t.equal(endedCount, 33)
    await second
    await disk.close()
  })

  t.test(`${name}: a path at which nothing is cannot be opened without createBytes`, async t => {
    const setUp = await openPort()
    await t.rejects(setUp.port.open(setUp.path, { direct: setUp.direct }), { code: 'NOT_FOUND' })
    t.same(await setUp.port.candidates([setUp.path]), [], 'a missing place yields nothing')
    await setUp.tearDown?.()
  })

  onDisk('a disk is a candidate when its own path is a place', async (t, disk, setUp) => {
    t.same(await setUp.port.candidates([setUp.path, setUp.path]), [disk.path])
  })
}

export const read = (disk: Disk, offsetBytes: number, target: Buffer): Promise<string | null> =>
  new Promise(resolve => disk.read(offsetBytes, target, resolve))
export const write = (disk: Disk, offsetBytes: number, pieces: readonly Buffer[]): Promise<string | null> =>
  new Promise(resolve => disk.write(offsetBytes, pieces, resolve))
export const sync = (disk: Disk): Promise<string | null> => new Promise(resolve => disk.sync(resolve))
export const erase = (disk: Disk, offsetBytes: number, lengthBytes: number): Promise<string | null> =>
  new Promise(resolve => disk.erase(offsetBytes, lengthBytes, resolve))

export const randomBytes = (lengthBytes: number): Buffer => randomFillSync(Buffer.alloc(lengthBytes))
export const isZero = (bytes: Buffer): boolean => bytes.equals(Buffer.alloc(bytes.length))

/** The same bytes at an address that no direct I/O could use. */
function oddlyPlaced(bytes: Buffer): Buffer {
  const place = Buffer.alloc(bytes.length + 3).subarray(3)
  bytes.copy(place)
  return place
}
