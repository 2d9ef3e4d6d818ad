import { chunkBytes } from '../../../src/base/units.js'
import { readFlushImage } from '../../../src/core/sdc/index.js'
import { silentLog } from '../../../src/ports/index.js'
import type { FlushFile } from '../../../src/sdc/flush-file.js'
import type { VolumeClient } from '../../../src/sdc/volume-client.js'
import { opcodes } from '../../../src/wire/data.js'
import { Outcome, type World } from './world.js'

/** What tests of FLUSH and its file do with a volume. */

/** After this the file knows which slices rest. */
export const restMs = 2_100

export const block = [Buffer.alloc(4096, 7)]

export async function write(world: World, volume: VolumeClient, chunk: number, fua = false): Promise<void> {
  const outcome = new Outcome()
  volume.write(chunk * chunkBytes, block, fua, outcome.done)
  await world.clock.runUntil(() => outcome.isDone)
  if (outcome.errno !== null) throw new Error(`write: ${outcome.errno}`)
}

export async function flush(world: World, volume: VolumeClient): Promise<string | null> {
  const outcome = new Outcome()
  volume.flush(outcome.done)
  await world.clock.runUntil(() => outcome.isDone)
  return outcome.errno!
}

export const notesOptions = {
  log: silentLog,
  bootId: 'boot-1',
  volumeId: '5eed00000000001f',
  mapping: 41,
  isShared: false,
}

/** No copy answers a flush before `letGo`. */
export function holdFlushes(world: World): void {
  for (const sds of world.sdss) sds.behave = ({ frame }) => (frame.opcode === opcodes.flush ? 'hold' : undefined)
}
export function letGo(world: World): void {
  for (const sds of world.sdss) {
    sds.behave = () => undefined
    sds.release()
  }
}

/** A flush of everything that changes no epoch. */
export function finishFlush(notes: FlushFile): void {
  const covered = notes.dirty.beginFlush(false)
  notes.dirty.finishFlush(Uint32Array.from(notes.cells, (_, slice) => notes.dirty.flushedEpoch(slice)))
  notes.flushed(covered)
}

/** The flushes that arrived since the last call: device, and slice:epoch of what was asked. */
export function flushes(world: World): string[] {
  const out = world.seen
    .filter(({ frame }) => frame.opcode === opcodes.flush)
    .map(({ device, body }) => {
      const pairs = Array.from(
        { length: body.length / 8 },
        (_, i) => `${body.readUInt32BE(8 * i)}:${body.readUInt32BE(8 * i + 4)}`,
      )
      return `${device} ${pairs.join(' ')}`
    })
  for (const sds of world.sdss) sds.seen.length = 0
  return out.sort()
}

/** What the next process of this boot would find. */
export const fileOf = (world: World, volume: VolumeClient) =>
  readFlushImage(world.state.read(world.state.list()[0]!), {
    ...volume.notes.options,
    epochs: new Uint32Array(world.sliceCount),
  })

/** As the relay does when it answers a write of the slice. */
export function answerBelow(volume: VolumeClient, slice: number, epoch: number): void {
  if (volume.route(slice * chunkBytes)?.notes == null) throw new Error('there is no way for it')
  const { below } = volume.notes.dirty
  below[slice] = Math.min(below[slice]!, epoch)
}
