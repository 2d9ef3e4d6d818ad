import { chunkKey } from '../base/ids.js'
import { firstChunkIn, type PoolView, sliceOf, type VolumeView } from '../core/sds/index.js'
import type { ChunkName } from './chunk-pairs.js'
import type { SdsContext } from './context.js'
import type { OwnDevice } from './own-device.js'

type Listing = (volume: VolumeView, first: number, step: number) => number[]

/** What a device has of a slice now. */
export const allocatedChunks = (context: SdsContext, device: OwnDevice, pool: PoolView, slice: number): ChunkName[] =>
  list(context, pool, slice, ({ number, chunkCount }, first, step) =>
    device.store.chunksOf(number, first, chunkCount, step),
  )

/** The same, with what may be getting a slot this moment. */
export const chunksOfSlice = (context: SdsContext, device: OwnDevice, pool: PoolView, slice: number): ChunkName[] =>
  withActive(context, device, pool, slice, allocatedChunks(context, device, pool, slice))

/**
 * What a device has marked of a slice, with what is being changed this moment: a change that was admitted in an earlier
 * epoch may still be on its way to its mark, and nobody sends it again.
 */
export const marksOfSlice = (context: SdsContext, device: OwnDevice, pool: PoolView, slice: number): ChunkName[] =>
  withActive(
    context,
    device,
    pool,
    slice,
    list(context, pool, slice, ({ number, chunkCount }, first, step) =>
      device.store.markedOf(number, first, chunkCount, step),
    ),
  )

/** Those of both lists that are in the slice, as far as the map knows them; each once. */
export function unionInSlice(
  context: SdsContext,
  pool: PoolView,
  slice: number,
  own: readonly ChunkName[],
  theirs: readonly ChunkName[],
): ChunkName[] {
  const union = new Map<number, ChunkName>()
  for (const name of own) union.set(chunkKey(name.volume, name.chunk), name)
  for (const name of theirs)
    if (isInSlice(context, pool, slice, name)) union.set(chunkKey(name.volume, name.chunk), name)
  return [...union.values()]
}

function isInSlice({ view }: SdsContext, pool: PoolView, slice: number, { volume, chunk }: ChunkName): boolean {
  const found = view.volumes.get(volume)
  return found?.pool.number === pool.number && chunk < found.chunkCount && sliceOf(found, chunk) === slice
}

function list({ view }: SdsContext, pool: PoolView, slice: number, chunksOf: Listing): ChunkName[] {
  const names: ChunkName[] = []
  for (const volume of view.volumesOf(pool))
    for (const chunk of chunksOf(volume, firstChunkIn(volume, slice), pool.sliceCount))
      names.push({ volume: volume.number, chunk })
  return names
}

function withActive(
  context: SdsContext,
  device: OwnDevice,
  pool: PoolView,
  slice: number,
  names: ChunkName[],
): ChunkName[] {
  const active: ChunkName[] = []
  for (const { lockShared, volume, chunk } of device.active) if (!lockShared) active.push({ volume, chunk })
  return active.length === 0 ? names : unionInSlice(context, pool, slice, names, active)
}
