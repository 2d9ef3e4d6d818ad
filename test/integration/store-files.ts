import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeviceId, SystemId } from '../../src/base/ids.js'
import { systemClock } from '../../src/io/clock.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readBootId } from '../../src/io/host.js'
import { lmdbStores } from '../../src/io/meta-store.js'
import { createDevice, type DeviceStore, openDevice, type StoreError } from '../../src/sds/store/index.js'

export const systemId = '5151515100000000' as SystemId
export const deviceId = '5151515100000009' as DeviceId

export const newDirectory = () => mkdtemp(join(tmpdir(), 'blockmesh-store-'))
export const dropDirectory = (directory: string) => rm(directory, { recursive: true, force: true })
export const devicePathIn = (directory: string) => join(directory, 'device')

const placeOf = async (directory: string, direct: boolean, createBytes?: number) => ({
  disk: await fileDisks.open(devicePathIn(directory), { direct, ...(createBytes && { createBytes }) }),
  metaStores: lmdbStores,
  indexDirectory: join(directory, 'index'),
  systemId,
  bootId: readBootId(),
})

export async function createFileDevice(
  directory: string,
  { sizeBytes, direct }: { sizeBytes: number; direct: boolean },
) {
  const place = await placeOf(directory, direct, sizeBytes)
  try {
    await createDevice({ ...place, deviceId })
  } finally {
    await place.disk.close()
  }
}

export async function openFileDevice(directory: string, { direct }: { direct: boolean }): Promise<DeviceStore> {
  const place = await placeOf(directory, direct)
  try {
    return await openDevice({ ...place, clock: systemClock })
  } catch (error) {
    await place.disk.close()
    throw error
  }
}

/** Rejects with the store's error. */
export const asked = (begin: (done: (error: StoreError | null) => void) => void): Promise<void> =>
  new Promise((resolve, reject) =>
    begin(error => (error === null ? resolve() : reject(new Error(JSON.stringify(error))))),
  )

export const allocatedBytesOf = async (path: string): Promise<number> => (await stat(path)).blocks * 512
