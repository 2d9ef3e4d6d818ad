import { votersOf } from './membership.js'
import { quorumOf } from './quorum.js'
import type { Member, MemberId } from './types.js'

/** One attempt to become leader: first a pre-vote, which changes nothing anywhere, then the vote (dissertation 9.6). */
export class Campaign {
  readonly isPre: boolean
  readonly isTransfer: boolean
  readonly #answers = new Map<MemberId, boolean>()
  readonly #heard: Set<MemberId>

  /** `heard`: who has been heard just before, in the pre-vote. */
  constructor(options: { isPre: boolean; isTransfer: boolean; heard: Iterable<MemberId> }) {
    this.isPre = options.isPre
    this.isTransfer = options.isTransfer
    this.#heard = new Set(options.heard)
  }

  count(from: MemberId, isGranted: boolean): void {
    this.#heard.add(from)
    if (!this.#answers.has(from)) this.#answers.set(from, isGranted)
  }

  get answered(): ReadonlySet<MemberId> {
    return new Set(this.#answers.keys())
  }

  get heard(): ReadonlySet<MemberId> {
    return this.#heard
  }

  result(members: readonly Member[]): 'won' | 'lost' | 'open' {
    const voters = votersOf(members)
    const quorum = quorumOf(voters.length)
    const votes = (isGranted: boolean) => voters.filter(({ id }) => this.#answers.get(id) === isGranted).length
    if (votes(true) >= quorum) return 'won'
    return voters.length - votes(false) < quorum ? 'lost' : 'open'
  }
}
