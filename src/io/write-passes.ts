import { assert } from '../base/assert.js'
import type { Tally } from '../ports/tally.js'
import type { WritePass, WritePasses, WritePassOffer } from '../ports/write-passes.js'
import { addon, errnoName } from './addon.js'
import { DataConnection, framesOf } from './data-connection.js'
import { deadlines as allDeadlines, indexOfDeadline } from './deadlines.js'
import { FileDisk } from './file-disk.js'
import { beginOp, takeOpBack } from './file-engine.js'
import { tallies as allTallies, SharedTally } from './tallies.js'

/** What the addon reads, see native/src/write-lane.cc: the pass that is being given. */
const form = new Float64Array(18)

addon.writeLaneStart(form, allTallies, allDeadlines)

/** Passes that the addon writes, reads and answers by. */
export const writePasses: WritePasses = {
  serves: (disk, { offset, length }) =>
    disk instanceof FileDisk &&
    offset % disk.alignBytes === 0 &&
    length % disk.alignBytes === 0 &&
    addon.writeLaneServes(disk.handle),

  give(offer) {
    const { connection, request, disk, chunkAtBytes, tallies, readTallies, peer, deadlines } = offer
    assert(connection instanceof DataConnection && disk instanceof FileDisk, 'passes are for what the addon drives')
    const peerId = peer === null ? -1 : (peer.connection as DataConnection).streamId
    if (connection.streamId < 0 || (peer !== null && peerId < 0)) return null
    form[0] = connection.streamId
    form[1] = request.slice
    form[2] = request.epoch
    form[3] = request.mapping
    form[4] = request.volume
    form[5] = request.chunk
    form[6] = request.pool
    form[7] = disk.handle
    form[8] = chunkAtBytes
    form[9] = indexOf(tallies[0])
    form[10] = indexOf(tallies[1])
    form[11] = indexOf(readTallies[0])
    form[12] = indexOf(readTallies[1])
    form[13] = peerId
    form[14] = peer?.mapVersion ?? 0
    form[15] = indexOfDeadline(deadlines[0])
    form[16] = indexOfDeadline(deadlines[1])
    const pass = new AddonPass(offer.ended)
    const slot = beginOp(() => pass.hasEnded())
    form[17] = slot
    pass.number = addon.writePassGive()
    if (pass.number >= 0) return pass
    takeOpBack(slot)
    return null
  },
  newTally: () => new SharedTally(),
}

const indexOf = (tally: Tally): number => (tally as SharedTally).index

class AddonPass implements WritePass {
  number = -1
  /** At its end. */
  #done: number | null = null

  constructor(readonly ended: WritePassOffer['ended']) {}

  get done(): number {
    return this.#done ?? addon.writePassDone(this.number)
  }
  end(): void {
    if (this.#done === null) addon.writePassEnd(this.number)
  }
  cut(): void {
    if (this.#done === null) addon.writePassCut(this.number)
  }
  hasEnded(): void {
    this.#done = this.done
    const errno = addon.writePassError(this.number)
    this.ended([...framesOf(addon.writePassTake(this.number))], errno === 0 ? null : errnoName(errno))
  }
}
