import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import t from 'tap'
import { KiB, MiB } from '../../src/base/units.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { preloadedLibrary } from '../support/preloaded.js'
import { diskContract, erase, isZero, randomBytes, read, sync, write } from './disk.js'

const directory = await mkdtemp(join(tmpdir(), 'blockmesh-disk-'))
t.teardown(() => rm(directory, { recursive: true, force: true }))
let pathCount = 0
const freshPath = (): string => join(directory, `disk-${pathCount++}`)

for (const direct of [true, false])
  diskContract(direct ? 'file, direct' : 'file, buffered', async () => {
    const path = freshPath()
    return { port: fileDisks, path, direct, tearDown: () => rm(path, { force: true }) }
  })

const allocatedBytes = async (path: string): Promise<number> => (await stat(path)).blocks * 512

for (const direct of [true, false])
  t.test(`erasing gives a file's blocks back to its file system (direct ${direct})`, async t => {
    const path = freshPath()
    const disk = await fileDisks.open(path, { createBytes: 16 * MiB, direct })
    t.equal(await allocatedBytes(path), 0, 'a new disk is sparse')
    t.equal(await write(disk, 4 * MiB, [randomBytes(8 * MiB)]), null)
    t.equal(await sync(disk), null)
    t.ok((await allocatedBytes(path)) >= 8 * MiB)
    t.equal(await erase(disk, 4 * MiB, 7 * MiB), null)
    t.equal(await sync(disk), null)
    const left = await allocatedBytes(path)
    t.ok(left >= 1 * MiB && left < 1.1 * MiB, `${left} bytes left`)
    await disk.close()
  })

t.test('a disk that is slow does not hold up the event loop', async t => {
  const disk = await fileDisks.open(freshPath(), { createBytes: 64 * MiB, direct: false })
  const block = randomBytes(4 * MiB)
  let isOver = false
  let turnCount = 0
  let longestMs = 0
  let lastMs = performance.now()
  const turn = (): void => {
    const nowMs = performance.now()
    longestMs = Math.max(longestMs, nowMs - lastMs)
    lastMs = nowMs
    turnCount += 1
    if (!isOver) setImmediate(turn)
  }
  setImmediate(turn)
  const startMs = performance.now()
  const errors = await Promise.all([
    ...Array.from({ length: 16 }, (_, i) => write(disk, i * 4 * MiB, [block])),
    sync(disk),
    sync(disk),
  ])
  const elapsedMs = performance.now() - startMs
  isOver = true
  t.ok(errors.every(error => error === null))
  t.ok(turnCount > 10, `${turnCount} turns of the event loop in ${elapsedMs} ms`)
  t.ok(longestMs < elapsedMs / 2, `longest turn ${longestMs} of ${elapsedMs} ms`)
  await disk.close()
})

t.test('a disk that others have locked is busy until their process ends', async t => {
  const path = freshPath()
  const disk = await fileDisks.open(path, { createBytes: 1 * MiB, direct: false })
  const openInAnotherProcess = `
    import { fileDisks } from ${JSON.stringify(new URL('../../src/io/disk-port.js', import.meta.url).href)}
    fileDisks.open(process.argv[1], { direct: false }).then(() => console.log('open'), error => console.log(error.code))`
  const attempt = (): string =>
    execFileSync(process.execPath, ['--input-type=module', '-e', openInAnotherProcess, path], {
      encoding: 'utf8',
    }).trim()
  t.equal(attempt(), 'DEVICE_BUSY')
  await disk.close()
  t.equal(attempt(), 'open')
  // That process ended without closing.
  await (await fileDisks.open(path, { direct: false })).close()
})

t.test('a process that ends while operations are under way ends well', async t => {
  const ending = (last: string): string => `
    import { fileDisks } from ${JSON.stringify(new URL('../../src/io/disk-port.js', import.meta.url).href)}
    const disk = await fileDisks.open(process.argv[1], { createBytes: 64 * 2 ** 20, direct: process.argv[2] === 'direct' })
    let endedCount = 0
    process.on('exit', () => console.log(endedCount))
    for (let i = 0; i < 64; i++) disk.write(i * 2 ** 20, [Buffer.alloc(2 ** 20, i)], () => endedCount++)
    ${last}`
  const endedCountOf = (last: string, mode: string): number =>
    Number(execFileSync(process.execPath, ['--input-type=module', '-e', ending(last), freshPath(), mode]))
  for (const mode of ['direct', 'buffered']) {
    t.equal(endedCountOf('', mode), 64, 'it waits for them when it has nothing else to do')
    t.ok(endedCountOf('setImmediate(() => process.exit())', mode) < 64, 'and not when it is told to exit')
  }
})

for (const direct of [true, false])
  t.test(
    `more than any queue or memory of the engine holds ends well, each with its own bytes (direct ${direct})`,
    async t => {
      const disk = await fileDisks.open(freshPath(), { createBytes: 64 * MiB, direct })
      // Odd addresses and lengths from a block to more than a megabyte, all over the first 48 MiB; small ones behind it.
      const lengths = [4 * KiB, 68 * KiB, 1 * MiB, 260 * KiB, 1536 * KiB, 12 * KiB]
      const ranges: { at: number; bytes: Buffer }[] = []
      for (let at = 0; at < 48 * MiB; at += ranges.at(-1)!.bytes.length)
        ranges.push({ at, bytes: randomBytes(lengths[ranges.length % lengths.length]! + 1).subarray(1) })
      for (let i = 0; i < 3000; i++) ranges.push({ at: 52 * MiB + i * 4 * KiB, bytes: randomBytes(4 * KiB) })
      const errors = await Promise.all(
        ranges.map(({ at, bytes }) => write(disk, at, [bytes.subarray(0, 777), bytes.subarray(777)])),
      )
      t.ok(errors.every(error => error === null))
      const targets = ranges.map(({ bytes }) => Buffer.alloc(bytes.length + 1).subarray(1))
      t.ok(
        (await Promise.all(targets.map((target, i) => read(disk, ranges[i]!.at, target)))).every(
          error => error === null,
        ),
      )
      t.ok(targets.every((target, i) => target.equals(ranges[i]!.bytes)))
      await disk.close()
    },
  )

t.test('a ring that says without cause that there is something to finish does not hold up the event loop', async t => {
  const library = await preloadedLibrary('late-ring-flag', directory)
  if (library === null) {
    t.comment('no compiler: not tried')
    return
  }
  const program = `
    import { fileDisks } from ${JSON.stringify(new URL('../../src/io/disk-port.js', import.meta.url).href)}
    const disk = await fileDisks.open(process.argv[1], { createBytes: 64 * 2 ** 20, direct: true })
    let begunCount = 0, endedCount = 0
    const next = () => {
      if (begunCount < 1000) disk.write(begunCount++ % 64 * 2 ** 20, [Buffer.alloc(4096, 1)], () => (endedCount++, next()))
    }
    for (let i = 0; i < 16; i++) next()
    process.on('exit', () => console.log(endedCount))`
  const env = { ...process.env, LD_PRELOAD: library }
  const args = ['--input-type=module', '-e', program, freshPath()]
  t.equal(Number(execFileSync(process.execPath, args, { env, timeout: 30_000, killSignal: 'SIGKILL' })), 1000)
})

t.test('a worker thread that ends while operations are under way ends well', async t => {
  const program = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData.module).then(async ({ fileDisks }) => {
      const disk = await fileDisks.open(workerData.path, { createBytes: 64 * 2 ** 20, direct: true })
      for (let i = 0; i < 64; i++) disk.write(i * 2 ** 20, [Buffer.alloc(2 ** 20, i)], () => {})
      setImmediate(() => setImmediate(() => process.exit(7)))
    })`
  const module = new URL('../../src/io/disk-port.js', import.meta.url).href
  const path = freshPath()
  const [code] = await once(new Worker(program, { eval: true, workerData: { module, path } }), 'exit')
  t.equal(code, 7)
  await (await fileDisks.open(path, { direct: true })).close()
})

for (const mode of ['direct', 'buffered'])
  t.test(`a killed process keeps its lock until nothing more can land on its disk (${mode})`, async t => {
    const path = freshPath()
    const writing = `
      import { fileDisks } from ${JSON.stringify(new URL('../../src/io/disk-port.js', import.meta.url).href)}
      const disk = await fileDisks.open(process.argv[1], { createBytes: 64 * 2 ** 20, direct: process.argv[2] === 'direct' })
      let round = 0
      const next = at => disk.write(at * 2 ** 20, [Buffer.alloc(2 ** 20, ++round)], () => next(at))
      for (let at = 0; at < 64; at++) next(at)
      setTimeout(() => console.log('busy'), 50)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', writing, path, mode], { stdio: 'pipe' })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    let disk = null
    for (const endMs = performance.now() + 10_000; disk === null; ) {
      disk = await fileDisks.open(path, { direct: mode === 'direct' }).catch(error => {
        if (error.code !== 'DEVICE_BUSY' || performance.now() > endMs) throw error
        return null
      })
    }
    const first = Buffer.alloc(64 * MiB)
    t.equal(await read(disk, 0, first), null)
    await new Promise(resolve => setTimeout(resolve, 200))
    const second = Buffer.alloc(64 * MiB)
    t.equal(await read(disk, 0, second), null)
    t.ok(first.equals(second))
    await disk.close()
  })

t.test('a completion that throws ends the process, and the others of its batch are still called', async t => {
  // Reads end with the ring, writes through the page cache with threads.
  for (const operation of ['read', 'write']) {
    const throwing = `
    import { fileDisks } from ${JSON.stringify(new URL('../../src/io/disk-port.js', import.meta.url).href)}
    const disk = await fileDisks.open(process.argv[1], { createBytes: 2 ** 20, direct: false })
    let endedCount = 0
    process.on('uncaughtException', error => console.log(error.message))
    for (let i = 0; i < 16; i++)
      disk.${operation}(0, ${operation === 'read' ? 'Buffer.alloc(4096)' : '[Buffer.alloc(4096)]'}, () => {
        if (endedCount++ === 3) throw new Error('thrown')
      })
    await new Promise(resolve => disk.sync(resolve))
    await disk.close()
    console.log(endedCount)`
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', throwing, freshPath()], {
      encoding: 'utf8',
    })
    t.same(said.trim().split('\n'), ['thrown', '16'])
  }
})

t.test('a file that got shorter behind our back answers reads of the lost part with an error', async t => {
  const path = freshPath()
  const disk = await fileDisks.open(path, { createBytes: 1 * MiB, direct: false })
  await truncate(path, 64 * KiB)
  t.equal(await read(disk, 128 * KiB, Buffer.alloc(4 * KiB)), 'EIO')
  t.equal(await read(disk, 62 * KiB, Buffer.alloc(4 * KiB)), 'EIO')
  t.equal(await read(disk, 60 * KiB, Buffer.alloc(4 * KiB)), null)
  await disk.close()
})

t.test('a direct disk refuses ranges that are not aligned, a buffered one takes them', async t => {
  const path = freshPath()
  const direct = await fileDisks.open(path, { createBytes: 1 * MiB, direct: true })
  t.equal(await write(direct, 100, [randomBytes(direct.alignBytes)]), 'EINVAL')
  t.equal(await read(direct, 0, Buffer.alloc(100)), 'EINVAL')
  await direct.close()
  const buffered = await fileDisks.open(path, { direct: false })
  t.equal(buffered.alignBytes, 1)
  const bytes = randomBytes(777)
  t.equal(await write(buffered, 100, [bytes]), null)
  const target = Buffer.alloc(777)
  t.equal(await read(buffered, 100, target), null)
  t.ok(target.equals(bytes))
  await buffered.close()
})

t.test('what cannot be a device is refused with its path and a reason', async t => {
  await t.rejects(fileDisks.open(directory, { direct: false }), {
    code: 'BAD_ARGUMENT',
    context: { device: directory },
  })
  await t.rejects(fileDisks.open('/dev/null', { direct: false }), { code: 'BAD_ARGUMENT' })
  const missing = join(directory, 'no', 'such')
  await t.rejects(fileDisks.open(missing, { createBytes: 1 * MiB, direct: false }), { code: 'NOT_FOUND' })
  await t.rejects(fileDisks.open('/proc/self/maps', { direct: true }), { name: 'StorageError' })
})

t.test(
  'candidates: files and links in a directory, each thing once, in order; places that are missing yield nothing',
  async t => {
    const place = join(directory, 'by-id')
    await mkdir(join(place, 'folder'), { recursive: true })
    await writeFile(join(place, 'b'), '')
    await writeFile(join(place, 'c'), '')
    await symlink(join(place, 'c'), join(place, 'a'))
    await symlink(join(place, 'gone'), join(place, 'd'))
    await symlink('/dev/null', join(place, 'e'))
    const expected = [join(place, 'a'), join(place, 'b')]
    t.same(await fileDisks.candidates([join(directory, 'nothing here'), place]), expected)
    t.same(await fileDisks.candidates([place, join(place, 'c'), place]), expected)
  },
)

t.test('a block device is opened once, measured, written and erased', async t => {
  const backing = freshPath()
  await writeFile(backing, '')
  await truncate(backing, 8 * MiB)
  let device: string
  try {
    device = execFileSync('losetup', ['--find', '--show', backing], { encoding: 'utf8', stdio: 'pipe' }).trim()
  } catch (error) {
    t.comment(`skipped: losetup does not work here: ${error instanceof Error ? error.message : error}`)
    return
  }
  t.teardown(() => execFileSync('losetup', ['--detach', device]))
  for (const direct of [true, false]) {
    const disk = await fileDisks.open(device, { direct, createBytes: 1 * MiB })
    t.equal(disk.sizeBytes, 8 * MiB)
    t.equal(disk.alignBytes, direct ? 512 : 1)
    await t.rejects(fileDisks.open(device, { direct }), { code: 'DEVICE_BUSY' })
    const written = randomBytes(4 * MiB)
    t.equal(await write(disk, 0, [written.subarray(0, 1000), written.subarray(1000)]), null)
    t.equal(await sync(disk), null)
    t.equal(await erase(disk, 1 * MiB, 2 * MiB), null)
    t.equal(await sync(disk), null)
    written.fill(0, 1 * MiB, 3 * MiB)
    const target = Buffer.alloc(4 * MiB)
    t.equal(await read(disk, 0, target), null)
    t.ok(target.equals(written))
    t.equal(await allocatedBytes(backing), 2 * MiB, 'the backing file has its blocks back')
    t.equal(await erase(disk, 0, 8 * MiB), null)
    t.equal(await read(disk, 0, target), null)
    t.ok(isZero(target))
    await disk.close()
  }
  const link = join(directory, 'link-to-device')
  await symlink(device, link)
  t.same(await fileDisks.candidates([device, link]), [device])
})
