import { mutate } from '../../base/mutation.js'
import type { MemberId } from './types.js'

/** Who asked: this member's driver by a token, or another member by a context. */
export type Reader = { token: number } | { from: MemberId; context: number }

export interface PendingRead {
  reader: Reader
  /** The commit when it was asked: what it has to see. */
  index: number
  /** The first round that began after it was asked; answered by a majority, nobody else was leader when it was asked. */
  round: number
}

/** Reads that wait for a leader to be confirmed (dissertation 6.4). */
export class PendingReads {
  #pending: PendingRead[] = []

  add(read: PendingRead): void {
    this.#pending.push(read)
  }

  /** Those whose round has been answered. */
  takeConfirmed(round: number): PendingRead[] {
    const confirmed = this.#pending.filter(read => read.round <= round)
    if (confirmed.length > 0) this.#pending = this.#pending.filter(read => read.round > round)
    return confirmed
  }

  takeAll(): PendingRead[] {
    return this.takeConfirmed(Number.POSITIVE_INFINITY)
  }
}

/**
 * Reads that were sent on to the leader. Contexts begin at a random number, so that an answer to the process before
 * this one, which may be older than the read, is not taken for an answer to it.
 */
export class ForwardedReads {
  #context: number
  readonly #waiting = new Map<number, { token: number; ticks: number }>()

  constructor(random: (below: number) => number) {
    this.#context = mutate('raft-take-an-old-answer-for-a-read') ? 0 : random(2 ** 31) * 2 ** 20
  }

  add(token: number): number {
    this.#waiting.set(++this.#context, { token, ticks: 0 })
    return this.#context
  }

  /** Null: nobody waits for this answer. */
  take(context: number): number | null {
    const read = this.#waiting.get(context)
    this.#waiting.delete(context)
    return read?.token ?? null
  }

  /** One tick later: those that have waited for `ticksMax`. */
  takeOverdue(ticksMax: number): number[] {
    const overdue: number[] = []
    for (const [context, read] of this.#waiting) {
      if (++read.ticks < ticksMax) continue
      overdue.push(read.token)
      this.#waiting.delete(context)
    }
    return overdue
  }

  takeAll(): number[] {
    const tokens = [...this.#waiting.values()].map(read => read.token)
    this.#waiting.clear()
    return tokens
  }
}
