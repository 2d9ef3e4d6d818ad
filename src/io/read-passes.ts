import { assert } from '../base/assert.js'
import type { ReadPasses } from '../ports/read-passes.js'
import { addon } from './addon.js'
import { DataConnection } from './data-connection.js'
import { deadlines, indexOfDeadline, SharedDeadline } from './deadlines.js'
import { FileDisk } from './file-disk.js'
import { SharedTally, tallies, totalTally } from './tallies.js'

/** Chunks share counters: that one's pass is void now and then for another one's change. */
const chunkVoids = 4_096

// What the addon shares with us, see native/src/read-lane.cc: the pass that is being given, and how often all passes and those
// of each chunk have become void.
const form = new Float64Array(13)
const voids = new Float64Array(1 + chunkVoids)

addon.readLaneStart(form, voids, tallies, deadlines)

const fromMemory = new SharedTally()

const voidAt = (volume: number, chunk: number): number => 1 + ((Math.imul(volume, 61) + chunk) & (chunkVoids - 1))

/** Passes that the addon reads and answers by. */
export const readPasses: ReadPasses = {
  give(connection, request, disk, chunkAtBytes, [one, other], tally) {
    assert(
      connection instanceof DataConnection && disk instanceof FileDisk && tally instanceof SharedTally,
      'passes are for what the addon drives',
    )
    const { streamId } = connection
    if (streamId < 0) return
    form[0] = streamId
    form[1] = request.slice
    form[2] = request.epoch
    form[3] = request.mapping
    form[4] = request.volume
    form[5] = request.chunk
    form[6] = request.pool
    form[7] = disk.handle
    form[8] = chunkAtBytes
    form[9] = voidAt(request.volume, request.chunk)
    form[10] = tally.index
    form[11] = indexOfDeadline(one)
    form[12] = indexOfDeadline(other)
    addon.readPassGive()
  },
  void(volume, chunk) {
    voids[voidAt(volume, chunk)]!++
  },
  voidAll() {
    voids[0]!++
  },
  keepInMemory(bytes) {
    addon.readCacheStart(bytes, tallies, fromMemory.index)
  },
  total: totalTally,
  fromMemory,
  newTally: () => new SharedTally(),
  newDeadline: () => new SharedDeadline(),
}
