import { Manager } from './manager.js'
import type { Raft, RaftOptions } from './types.js'
import { Witness } from './witness.js'

/** A member's part in the consensus, as it was when its process ended; a new one starts from an empty `recovered`. */
export const createRaft = (options: RaftOptions): Raft =>
  options.kind === 'tieBreaker' ? new Witness(options) : new Manager(options)
