import type { BackendDone, Extent, NbdErrno } from './backend.js'
import type { Refusal } from './check-request.js'

export const noBody: readonly Buffer[] = []

/** Who answers a request once the backend has. */
export interface RequestOwner {
  completed(request: NbdRequest, errno: NbdErrno | null): void
  completedExtents(request: NbdRequest, errno: NbdErrno | null, extents: Extent[]): void
}

/**
 * One request of a client. Objects are used again, and their callbacks with them, so that a request costs no closure.
 * Invariant: `underWay` from the call of the backend to its completion, and in the free list otherwise; `answer once`
 * is asserted, as a second completion would answer somebody else's request.
 */
export class NbdRequest {
  command = 0
  flags = 0
  cookieHigh = 0
  cookieLow = 0
  offsetBytes = 0
  lengthBytes = 0
  /** Payload bytes that this request may hold in memory until its reply has left. */
  heldBytes = 0
  underWay = false
  /** Set where the payload of a refused write is still to be skipped. */
  refusal: Refusal | null = null
  /** A read's answer: room for the header, then the data. */
  reply: Buffer | null = null
  /** A write's payload, while the backend has it. */
  body: readonly Buffer[] = noBody

  readonly done: BackendDone
  readonly extentsDone: (errno: NbdErrno | null, extents: Extent[]) => void

  constructor(owner: RequestOwner) {
    this.done = errno => owner.completed(this, errno)
    this.extentsDone = (errno, extents) => owner.completedExtents(this, errno, extents)
  }
}
