import type { MemberProgress } from './types.js'

/**
 * How far one other member's log is known to agree with the leader's, and what may be sent to it:
 *  * probe: one append at a time, until the place where the logs agree is found;
 *  * replicate: appends follow each other without waiting, up to `inflightMax`;
 *  * snapshot: nothing, until the driver has delivered a snapshot.
 * `match < next`; up to `match` everything is durable there.
 */
export class Progress {
  readonly #inflightMax: number
  state: MemberProgress['state'] = 'probe'
  match = 0
  next: number
  /** The newest commit that was sent; a lost one is repeated by heartbeats. */
  sentCommit = 0
  /** Last indexes of the appends without an answer. */
  #inflight: number[] = []
  /** Waits for an answer, to whatever it was. */
  #isPaused = false

  constructor(next: number, inflightMax: number) {
    this.next = next
    this.#inflightMax = inflightMax
  }

  get isPaused(): boolean {
    return this.state === 'snapshot' || this.#isPaused
  }

  get isFull(): boolean {
    return this.#inflight.length >= this.#inflightMax
  }

  sent(count: number): void {
    if (this.state === 'probe') this.#isPaused = true
    if (this.state !== 'replicate' || count === 0) return
    this.next += count
    this.#inflight.push(this.next - 1)
    this.#isPaused = this.isFull
  }

  /** An answer has come: the member can be reached. */
  resume(): void {
    this.#isPaused = false
  }

  /** True: it has more than was known. */
  accepted(index: number): boolean {
    const isNew = index > this.match
    this.match = Math.max(this.match, index)
    this.next = Math.max(this.next, this.match + 1)
    this.#inflight = this.#inflight.filter(last => last > index)
    this.resume()
    return isNew
  }

  /** The append after `prevIndex` was refused. False: an old answer, which says nothing any more. */
  refused(prevIndex: number, hintIndex: number): boolean {
    if (this.state === 'snapshot' || prevIndex <= this.match) return false
    if (this.state === 'replicate') {
      this.becomeProbe(this.match + 1)
      return true
    }
    if (prevIndex !== this.next - 1) return false
    this.next = Math.max(Math.min(prevIndex, hintIndex + 1), this.match + 1)
    this.resume()
    return true
  }

  becomeProbe(next: number): void {
    this.#become('probe')
    this.next = Math.max(next, this.match + 1)
  }

  becomeReplicate(): void {
    this.#become('replicate')
    this.next = this.match + 1
  }

  becomeSnapshot(): void {
    this.#become('snapshot')
  }

  /** Nothing more is sent until an answer comes. */
  pause(): void {
    this.#isPaused = true
  }

  #become(state: MemberProgress['state']): void {
    this.state = state
    this.#inflight = []
    this.#isPaused = false
  }
}
