import { closeSync, constants, openSync } from 'node:fs'
import { holdersOf } from '../../io/device-holders.js'
import { kernelNbd } from '../../io/kernel-nbd.js'
import { kernelIdentifier } from '../../sdc/kernel-door.js'
import type { ClusterFile } from './cluster-file.js'

export interface KernelDevices {
  /** The kernel lets go of these once their SDC has ended. */
  free: { index: number; path: string }[]
  /** Somebody uses these: they stay, and their I/O waits until the cluster is up again. */
  held: { path: string; holders: string }[]
}

/**
 * The /dev/nbdX of a cluster. An SDC that ends leaves them attached, so that I/O goes on with the next one; when the
 * whole cluster goes down, what nobody uses is detached, so that nothing on the host stumbles over a silent disk.
 */
export async function findKernelDevices(file: ClusterFile | null): Promise<KernelDevices> {
  const devices: KernelDevices = { free: [], held: [] }
  const volumes = (file?.volumes ?? []).filter(volume => volume.device !== null)
  if (volumes.length === 0 || kernelNbd.unavailable() !== null) return devices
  const ours = new Set(volumes.map(volume => kernelIdentifier(file?.systemId ?? '', volume.id)))
  for (const { index, identifier } of await kernelNbd.attached()) {
    if (identifier === null || !ours.has(identifier)) continue
    const path = `/dev/nbd${index}`
    const holders = await usersOf(path)
    if (holders === null) devices.free.push({ index, path })
    else devices.held.push({ path, holders })
  }
  return devices
}

/** Returns a sentence for each device that could not be detached. */
export async function detachKernelDevices({ free }: KernelDevices): Promise<string[]> {
  const failures: string[] = []
  for (const { index, path } of free)
    await kernelNbd.detach(index).catch(error => failures.push(`${path} could not be detached: ${error.message}`))
  return failures
}

/** Who has it open or mounted, or null. An exclusive opening fails also where a partition is mounted or dm sits on it. */
async function usersOf(path: string): Promise<string | null> {
  const holders = await holdersOf(path)
  if (holders !== 'unknown') return holders
  try {
    closeSync(openSync(path, constants.O_RDONLY | constants.O_EXCL))
    return null
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EBUSY' ? 'used by the kernel' : null
  }
}
