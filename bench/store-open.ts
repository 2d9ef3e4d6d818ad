import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeviceId, SystemId } from '../src/base/ids.js'
import { chunkBytes } from '../src/base/units.js'
import { chunkIndexKey, chunkValue, labelBytes } from '../src/core/store/index.js'
import { systemClock } from '../src/io/clock.js'
import { fileDisks } from '../src/io/disk-port.js'
import { readBootId } from '../src/io/host.js'
import { lmdbStores } from '../src/io/meta-store.js'
import type { MetaWrite } from '../src/ports/index.js'
import { createDevice, openDevice } from '../src/sds/store/index.js'

/** How long a device with many chunks takes to open: `node dist/bench/store-open.js [chunks]`. */
const chunkCount = Number(process.argv[2] ?? 1_000_000)
/** A device has some of each volume's chunks, here and there. */
const strideChunks = 3
const volumeChunks = 100_000

const directory = await mkdtemp(join(tmpdir(), 'blockmesh-bench-'))
const systemId = '6161616100000000' as SystemId
const deviceId = '6161616100000001' as DeviceId
try {
  const sizeBytes = labelBytes + chunkCount * chunkBytes
  const disk = await fileDisks.open(join(directory, 'device'), { createBytes: sizeBytes, direct: true })
  const place = {
    disk,
    metaStores: lmdbStores,
    indexDirectory: join(directory, 'index'),
    systemId,
    bootId: readBootId(),
  }
  await createDevice({ ...place, deviceId })
  await fillIndex()
  globalThis.gc?.()
  const before = process.memoryUsage()
  const beganMs = performance.now()
  const cpuBefore = process.cpuUsage()
  const store = await openDevice({ ...place, clock: systemClock })
  const openMs = Math.round(performance.now() - beganMs)
  const { user, system } = process.cpuUsage(cpuBefore)
  // Others may be at work on the machine.
  const cpuMs = Math.round((user + system) / 1000)
  const { slotsUsed } = store.usage()
  globalThis.gc?.()
  const after = process.memoryUsage()
  const heapBytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers
  console.log(JSON.stringify({ bench: 'store-open', chunks: slotsUsed, openMs, cpuMs, heapBytes }))
  await store.close()
} finally {
  await rm(directory, { recursive: true, force: true })
}

async function fillIndex(): Promise<void> {
  const index = await lmdbStores.open(join(directory, 'index', deviceId))
  const commit = (writes: MetaWrite[]) =>
    new Promise<void>((resolve, reject) => index.commit(writes, error => (error ? reject(error) : resolve())))
  const batchChunks = 50_000
  for (let first = 0; first < chunkCount; first += batchChunks) {
    const writes: MetaWrite[] = []
    for (let slot = first; slot < Math.min(first + batchChunks, chunkCount); slot++) {
      const volume = 1 + Math.floor(slot / volumeChunks)
      const key = chunkIndexKey(volume, (slot % volumeChunks) * strideChunks)
      writes.push({ put: key, value: chunkValue(slot, 'thin') })
    }
    await commit(writes)
  }
  await index.close()
}
