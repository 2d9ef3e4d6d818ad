import { addon } from './addon.js'
import { beginTurn, runEndOfTurn } from './clock.js'

type Take = (count: number) => void

let takeCompletions: Take = () => {}
let takeEvents: Take = () => {}
let isStarted = false

/** `take` hears how many completions of file operations are in their array, each turn in which there are any. */
export function onCompletions(take: Take): void {
  takeCompletions = take
  start()
}

/** The same for what has happened to streams. */
export function onEvents(take: Take): void {
  takeEvents = take
  start()
}

function start(): void {
  if (!isStarted) addon.turnStart(onTurn)
  isStarted = true
}

/**
 * What files and sockets have brought in this turn of the event loop, and then, in the same call, the end of the turn:
 * what all of it led to goes out in one batch, without another round through Node.
 */
function onTurn(completions: number, events: number): void {
  beginTurn()
  if (completions > 0) takeCompletions(completions)
  if (events > 0) takeEvents(events)
  try {
    runEndOfTurn()
  } catch (error) {
    process.nextTick(rethrow, error)
  }
}

/** For callbacks of the addon's, which would lose it: it goes up by itself. */
export function rethrow(error: unknown): never {
  throw error
}
