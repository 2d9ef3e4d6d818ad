import type { Endpoint } from '../model/index.js'

/** The pause before a lost master is looked for, between two addresses, and between rounds through all of them. */
const firstPauseMs = 20
const nextPauseMs = 5
const roundPauseMsMin = 100
const roundPauseMsMax = 1_000
const roundPauseGrowth = 1.5
/** Who has not answered at all is waited for in every so many rounds only, while others do answer. */
const silentRounds = 4
/** Addresses that others have named; an MDM cluster has five members and some that stand by. */
const learnedMax = 16

interface Heard {
  said: string
  isSilent: boolean
}

/**
 * All addresses at which an MDM may be, and which of them to try next while the master is not known: whom a redirect
 * names, else the next one in turn; each once in a round.
 */
export class AddressBook {
  readonly #configured: readonly Endpoint[]
  #learned: Endpoint[] = []
  readonly #heard = new Map<string, Heard>()
  readonly #tried = new Set<string>()
  #redirect: Endpoint | null = null
  #last: string | null = null
  #rounds = 0

  constructor(configured: readonly Endpoint[]) {
    this.#configured = distinct(configured)
  }

  get all(): Endpoint[] {
    return distinct([...this.#configured, ...this.#learned])
  }

  /** How long to wait before the next attempt. */
  get pauseMs(): number {
    if (this.#tried.size === 0) return firstPauseMs
    if (this.#redirect !== null || this.#untried().length > 0) return nextPauseMs
    return Math.min(roundPauseMsMax, roundPauseMsMin * roundPauseGrowth ** Math.min(this.#rounds, 20))
  }
  /** Rounds through all addresses without a master. */
  get rounds(): number {
    return this.#rounds
  }

  /** These are the MDMs, as the system itself says; what it said before is past. */
  learn(endpoints: readonly Endpoint[]): void {
    this.#learned = distinct(endpoints.filter(at => !isWildcard(at))).slice(0, learnedMax)
  }

  /** The master is said to be there. Not taken up again in a round in which that has turned out wrong. */
  redirect(to: Endpoint): void {
    if (this.#tried.has(spell(to)) || isWildcard(to)) return
    this.#redirect = to
    if (!this.all.some(at => spell(at) === spell(to))) this.learn([...this.#learned, to])
  }

  next(): Endpoint {
    const at = this.#redirect ?? this.#inTurn()
    this.#redirect = null
    this.#last = spell(at)
    this.#tried.add(this.#last)
    return at
  }

  #inTurn(): Endpoint {
    if (this.#untried().length === 0) {
      this.#tried.clear()
      this.#rounds++
    }
    const all = this.all
    const first = all.findIndex(at => spell(at) === this.#last) + 1
    const turned = [...all.slice(first), ...all.slice(0, first)]
    const untried = this.#untried()
    return turned.find(at => untried.includes(spell(at)))!
  }

  /** The silent ones come last, or not at all. */
  #untried(): string[] {
    const isLeft = (at: string) => !this.#tried.has(at)
    const all = this.all.map(spell)
    const talking = all.filter(at => this.#heard.get(at)?.isSilent !== true)
    if (talking.some(isLeft)) return talking.filter(isLeft)
    const waitsForSilent = talking.length === 0 || this.#rounds % silentRounds === silentRounds - 1
    return waitsForSilent ? all.filter(isLeft) : []
  }

  /** What came of the last attempt there. */
  note(at: Endpoint, said: string, isSilent = false): void {
    this.#heard.set(spell(at), { said, isSilent })
  }

  /** The master is found: the next search begins anew. */
  found(at: Endpoint): void {
    this.#heard.clear()
    this.#heard.set(spell(at), { said: 'it was the master', isSilent: false })
    this.#tried.clear()
    this.#rounds = 0
  }

  /** For people: every address with what it said last. */
  story(): string {
    return this.all.map(at => `${spell(at)}: ${this.#heard.get(spell(at))?.said ?? 'not tried yet'}`).join('; ')
  }
}

export const spell = ({ host, port }: Endpoint): string =>
  host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`

/** `host:port` as a redirect has it; null: it is none. */
export function endpointOf(text: unknown): Endpoint | null {
  const match = typeof text === 'string' ? /^(?:\[([^\]]{2,255})\]|([^[\]:]{1,255})):(\d{1,5})$/.exec(text) : null
  const port = Number(match?.[3])
  return match === null || port < 1 || port > 65_535 ? null : { host: (match[1] ?? match[2])!, port }
}

/** Where an MDM listens that was told to listen everywhere: from elsewhere that is nowhere. */
const isWildcard = ({ host }: Endpoint): boolean => host === '0.0.0.0' || host === '::'

const distinct = (endpoints: readonly Endpoint[]): Endpoint[] => [
  ...new Map(endpoints.map(at => [spell(at), { host: at.host, port: at.port }])).values(),
]
