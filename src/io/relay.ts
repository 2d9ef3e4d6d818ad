import { assert } from '../base/assert.js'
import type { Relay, RelayNotes, Route } from '../ports/relay.js'
import { addon } from './addon.js'
import { DataConnection } from './data-connection.js'
import { SharedTally, tallies } from './tallies.js'

/** What the addon reads, see native/src/relay.cc: the route that is being set. */
const form = new Float64Array(14)

addon.relayStart(form, tallies)

export const relay: Relay = {
  takeBackAll: () => addon.relayTakeBack(Number.POSITIVE_INFINITY),
  takeBackOlder: thanMs => addon.relayTakeBack(addon.bootTimeMs() - thanMs),
  unansweredOn: connection =>
    connection instanceof DataConnection && connection.streamId >= 0 ? addon.streamAwaited(connection.streamId) : 0,
  newTally: () => new SharedTally(),
  newNotes: (cells, below) => new SharedNotes(addon.relayAddNotes(cells, below)),
}

class SharedNotes implements RelayNotes {
  constructor(readonly number: number) {}

  get unanswered(): number {
    return addon.relayUnanswered(this.number)
  }
  close(): void {
    addon.relayDropNotes(this.number)
  }
}

/** Requests that come on the client's stream go there from now on. */
export function setRoute(clientStream: number, route: Route): void {
  const { connection, reads, writes, notes } = route
  assert(
    connection instanceof DataConnection && reads instanceof SharedTally && writes instanceof SharedTally,
    'routes are for what the addon drives',
  )
  if (connection.streamId < 0) return
  form[0] = clientStream
  form[1] = connection.streamId
  form[2] = route.slice
  form[3] = route.epoch
  form[4] = route.mapping
  form[5] = route.volume
  form[6] = route.chunk
  form[7] = route.pool
  form[8] = route.mapVersion
  form[9] = reads.index
  form[10] = writes.index
  form[11] = notes instanceof SharedNotes ? notes.number : 0
  form[12] = route.sliceCount
  form[13] = route.chunkCount
  addon.relayRoute()
}
