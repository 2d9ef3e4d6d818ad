import type { Raft, RaftOptions } from './types.js'

/** A member's part in the consensus, as it was when its process ended; a new one starts from an empty `recovered`. */
export function createRaft(options: RaftOptions): Raft {
  throw new Error(`not yet: ${options.kind}`)
}
