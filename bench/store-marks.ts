import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeviceId, SystemId } from '../src/base/ids.js'
import { chunkBytes, GiB } from '../src/base/units.js'
import { labelBytes } from '../src/core/store/index.js'
import { systemClock } from '../src/io/clock.js'
import { fileDisks } from '../src/io/disk-port.js'
import { readBootId } from '../src/io/host.js'
import { lmdbStores } from '../src/io/meta-store.js'
import { createDevice, openDevice, type StoreDone } from '../src/sds/store/index.js'

/**
 * What write-intent marks cost: random 4 KiB writes over 8 GiB whose chunks have slots, to a sparse file and real lmdb:
 * `node dist/bench/store-marks.js [directory]`. `marked already` is what it would be without marks.
 */
const chunkCount = (8 * GiB) / chunkBytes
const writeBytes = 4096
const phaseMs = 1000
const depths = [1, 16, 128]

const directory = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'blockmesh-bench-'))
const systemId = '6161616100000000' as SystemId
const deviceId = '6161616100000001' as DeviceId
const block = Buffer.alloc(writeBytes, 'bench ')
try {
  const createBytes = labelBytes + chunkCount * chunkBytes
  const disk = await fileDisks.open(join(directory, 'device'), { createBytes, direct: true })
  const indexDirectory = join(directory, 'index')
  const place = { disk, metaStores: lmdbStores, indexDirectory, systemId, bootId: readBootId() }
  await createDevice({ ...place, deviceId })
  const store = await openDevice({ ...place, clock: systemClock })

  const run = async (what: string, depth: number, next: () => number | null) => {
    const beganMs = performance.now()
    const waitsMs: number[] = []
    const lane = (ended: () => void): void => {
      const chunk = performance.now() - beganMs < phaseMs ? next() : null
      if (chunk === null) {
        ended()
        return
      }
      const startMs = performance.now()
      const offset = writeBytes * Math.floor(Math.random() * (chunkBytes / writeBytes))
      store.write(1, chunk, offset, [block], error => {
        if (error !== null) throw new Error(JSON.stringify(error))
        waitsMs.push(performance.now() - startMs)
        lane(ended)
      })
    }
    await Promise.all(Array.from({ length: depth }, () => new Promise<void>(lane)))
    const perSecond = Math.round((waitsMs.length * 1000) / (performance.now() - beganMs))
    waitsMs.sort((a, b) => a - b)
    const at = (share: number) => Number(waitsMs[Math.floor(waitsMs.length * share)]!.toFixed(3))
    const figures = { writes: waitsMs.length, perSecond, latencyMsP50: at(0.5), latencyMsP99: at(0.99) }
    console.log(JSON.stringify({ bench: 'store-marks', what, depth, ...figures, marks: store.markedCount() }))
  }
  const asked = (begin: (done: StoreDone) => void) =>
    new Promise<void>((resolve, reject) =>
      begin(error => (error === null ? resolve() : reject(new Error(JSON.stringify(error))))),
    )
  const unmarkAll = async () => {
    await asked(done => store.sync(done))
    const idle = store.idleMarks(0, chunkCount, () => true)
    const beganMs = performance.now()
    await asked(done => store.unmark(idle, done))
    const tookMs = Number((performance.now() - beganMs).toFixed(1))
    if (store.markedCount() > 0) throw new Error('marks are left')
    console.log(JSON.stringify({ bench: 'store-marks', what: 'unmark', marks: idle.length, tookMs }))
  }
  const anywhere = () => Math.floor(Math.random() * chunkCount)
  /** Every chunk at most once, in random order. */
  const eachOnce = () => {
    const chunks = Array.from({ length: chunkCount }, (_, chunk) => chunk).sort(() => Math.random() - 0.5)
    return () => chunks.pop() ?? null
  }

  // Slots; nothing is written to the disk. All chunks are marked then.
  for (let chunk = 0; chunk < chunkCount; chunk++) store.reserve(1, chunk, 'thin', false)
  const fill = Array.from({ length: chunkCount }, (_, chunk) => chunk)
  await Promise.all(fill.map(chunk => asked(done => store.zero(1, chunk, 0, chunkBytes, done))))
  for (const depth of depths) await run('marked already', depth, anywhere)
  await unmarkAll()
  for (const depth of depths) {
    await run('first touches', depth, eachOnce())
    await unmarkAll()
  }
  await store.close()
} finally {
  await rm(directory, { recursive: true, force: true })
}
