import type { Ballot } from './ballot.js'
import type { RaftLog } from './log.js'
import type { Outbox } from './outbox.js'
import type { RaftOptions } from './types.js'

/** What the roles of a manager share. */
export interface RaftCore {
  readonly options: RaftOptions
  readonly log: RaftLog
  readonly ballot: Ballot
  readonly outbox: Outbox
}
