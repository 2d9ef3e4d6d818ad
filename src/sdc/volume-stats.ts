import type { Tally } from '../ports/index.js'
import type { IoKind } from './io-request.js'

/** Counts of one volume since the mapping was first served by this process. */
export class VolumeStats {
  readonly #requests: Record<IoKind, number> = { read: 0, write: 0, trim: 0, zero: 0, flush: 0 }
  readonly #bytes: Record<IoKind, number> = { read: 0, write: 0, trim: 0, zero: 0, flush: 0 }
  throttled = 0
  retries = 0
  errors = 0
  timeouts = 0
  /** Whole chunks of zeroes that were stored as holes. */
  zeroChunks = 0

  /** `relayed`: what this process has only passed on. */
  constructor(readonly relayed: { read: Tally; write: Tally }) {}

  count(kind: IoKind, lengthBytes: number): void {
    this.#requests[kind]++
    this.#bytes[kind] += lengthBytes
  }

  requests(kind: IoKind): number {
    return this.#requests[kind] + (kind === 'read' || kind === 'write' ? this.relayed[kind].ios : 0)
  }

  bytes(kind: IoKind): number {
    return this.#bytes[kind] + (kind === 'read' || kind === 'write' ? this.relayed[kind].bytes : 0)
  }
}
