import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { KiB, MiB } from '../../src/base/units.js'
import {
  allocatedBytesOf,
  asked,
  createFileDevice,
  devicePathIn,
  dropDirectory,
  newDirectory,
  openFileDevice,
} from './store-files.js'

const writerPath = fileURLToPath(new URL('store-writer.js', import.meta.url))

for (const direct of [true, false]) {
  const mode = direct ? 'direct' : 'buffered'

  t.test(`${mode}: what was written is there after closing and opening again`, async t => {
    const directory = await newDirectory()
    t.teardown(() => dropDirectory(directory))
    await createFileDevice(directory, { sizeBytes: 64 * MiB, direct })
    const store = await openFileDevice(directory, { direct })
    t.ok(store.opened.cleanStop, 'a new device counts as stopped cleanly')
    const bytes = Buffer.alloc(5000, 'unaligned ')
    t.ok(store.reserve(3, 70, 'thin', false))
    await asked(done => store.write(3, 70, 1234, [bytes.subarray(0, 999), bytes.subarray(999)], done))
    t.ok(store.reserve(3, 71, 'thick', false))
    await asked(done => store.zero(3, 71, 0, MiB, done))
    await asked(done => store.markClean(done))
    await store.close()

    const again = await openFileDevice(directory, { direct })
    t.match(again.opened, { cleanStop: true, sameBoot: true })
    t.match(again.usage(), { slotsTotal: 63, slotsUsed: 2, thinChunks: 1, thickChunks: 1 })
    const target = Buffer.alloc(8 * KiB)
    await asked(done => again.read(3, 70, 0, target, done))
    t.ok(target.subarray(1234, 6234).equals(bytes), 'the bytes')
    t.ok(target.subarray(0, 1234).equals(Buffer.alloc(1234)), 'zeroes before them')
    t.ok(target.subarray(6234).equals(Buffer.alloc(8 * KiB - 6234)), 'zeroes behind them')
    await again.close()
  })

  t.test(`${mode}: removed chunks go back to the host's file system within a second or so`, async t => {
    const directory = await newDirectory()
    t.teardown(() => dropDirectory(directory))
    await createFileDevice(directory, { sizeBytes: 48 * MiB, direct })
    const store = await openFileDevice(directory, { direct })
    const path = devicePathIn(directory)
    const chunks = Array.from({ length: 32 }, (_, at) => at)
    const full = Buffer.alloc(MiB, 'full ')
    for (const chunk of chunks) {
      t.ok(store.reserve(1, chunk, 'thin', false))
      await asked(done => store.write(1, chunk, 0, [full], done))
    }
    await asked(done => store.sync(done))
    const filledBytes = await allocatedBytesOf(path)
    t.ok(filledBytes >= 32 * MiB, `${filledBytes} bytes are allocated when 32 chunks are written`)
    await Promise.all(chunks.slice(1).map(chunk => asked(done => store.remove(1, chunk, done))))
    for (let tries = 0; tries < 60 && (await allocatedBytesOf(path)) > 3 * MiB; tries++) await wait(50)
    const leftBytes = await allocatedBytesOf(path)
    t.ok(leftBytes <= 2 * MiB + 64 * KiB, `${leftBytes} bytes are allocated when one chunk is left`)
    await store.close()
  })

  t.test(`${mode}: writes that were answered survive the end of the process`, async t => {
    const directory = await newDirectory()
    t.teardown(() => dropDirectory(directory))
    await createFileDevice(directory, { sizeBytes: 64 * MiB, direct })
    const writer = spawn(process.execPath, [writerPath, directory, mode], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = once(writer, 'exit')
    /** The last answered turn of each lane. */
    const answered = new Map<number, number>()
    let lines = 0
    for await (const line of createInterface({ input: writer.stdout })) {
      const [lane, turn] = line.split(' ').map(Number)
      answered.set(lane!, turn!)
      if (++lines === 300) writer.kill('SIGKILL')
    }
    await ended
    t.ok(lines >= 300, `${lines} writes were answered`)

    const store = await openFileDevice(directory, { direct })
    t.match(store.opened, { cleanStop: false, sameBoot: true })
    for (const [lane, lastTurn] of answered) {
      // What each place holds: the newest turn that wrote there, or the next one that was not answered.
      for (let turn = Math.max(0, lastTurn - 14); turn <= lastTurn; turn++) {
        const target = Buffer.alloc(16_384)
        await asked(done => store.read(1, lane + 8 * (turn % 5), (turn % 3) * 16_384, target, done))
        const found = target.toString('latin1', 0, target.indexOf(';') + 1)
        const allowed = [`${lane}.${turn};`, ...(turn + 15 === lastTurn + 1 ? [`${lane}.${turn + 15};`] : [])]
        if (!allowed.includes(found)) t.fail(`lane ${lane}: found ${found}, wanted ${allowed.join(' or ')}`)
      }
    }
    t.equal(answered.size, 8, 'all lanes wrote')
    await store.close()
  })
}
