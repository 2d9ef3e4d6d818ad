/**
 * Waits for the requests of mappings that a map version removed: only when they have ended is the version in effect
 * (design section 5, rule 8).
 */
export class AckGate {
  #open = 0
  #isArmed = false

  constructor(
    readonly version: number,
    readonly onOpen: () => void,
  ) {}

  add(): void {
    this.#open++
  }
  /** No more are added. */
  arm(): void {
    this.#isArmed = true
    if (this.#open === 0) this.onOpen()
  }
  requestEnded(): void {
    this.#open--
    if (this.#open === 0 && this.#isArmed) this.onOpen()
  }
  get isOpen(): boolean {
    return this.#isArmed && this.#open === 0
  }
}

/** Acknowledges map versions in order, each when its gate is open. */
export class MapAcks {
  readonly #gates: AckGate[] = []
  #latest = 0

  constructor(readonly acknowledge: (version: number) => void) {}

  /** To an MDM that may not have heard: what is in effect. */
  repeat(): void {
    if (this.#latest > 0) this.acknowledge(this.#latest)
  }

  /** The gate of a version that was just applied; the caller adds requests and arms it. */
  gate(version: number): AckGate {
    const gate = new AckGate(version, () => this.#advance())
    this.#gates.push(gate)
    return gate
  }

  #advance(): void {
    let version = -1
    while (this.#gates[0]?.isOpen) version = this.#gates.shift()!.version
    if (version < 0) return
    this.#latest = version
    this.acknowledge(version)
  }
}
