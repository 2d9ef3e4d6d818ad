import { assert } from '../base/assert.js'
import type { ReadRelay, ReadRoute } from '../ports/read-relay.js'
import { addon } from './addon.js'
import { DataConnection } from './data-connection.js'
import { SharedTally, tallies } from './tallies.js'

/** What the addon reads, see native/src/read-relay.cc: the route that is being set. */
const form = new Float64Array(10)

addon.readRelayStart(form, tallies)

export const readRelay: ReadRelay = {
  takeBackAll: () => addon.readsTakeBack(Number.POSITIVE_INFINITY),
  takeBackOlder: thanMs => addon.readsTakeBack(addon.bootTimeMs() - thanMs),
  newTally: () => new SharedTally(),
}

/** Reads that come on the client's stream go there from now on. */
export function routeReads(clientStream: number, route: ReadRoute): void {
  const { connection, tally } = route
  assert(connection instanceof DataConnection && tally instanceof SharedTally, 'routes are for what the addon drives')
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
  form[9] = tally.index
  addon.readRoute()
}
