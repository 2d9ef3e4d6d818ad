/**
 * Which version of the map is in effect here (rule 8): the newest one of whose removals none is still being carried out.
 */
export class MapAcks {
  /** By removal under way: the version that asked for it. */
  readonly #underWay = new Set<{ version: number }>()
  #version = 0

  constructor(readonly send: (version: number) => void) {}

  /** The map is at `version`; what it removed is done when `removals` are. */
  reached(version: number, removals: Promise<unknown>[]): void {
    this.#version = Math.max(this.#version, version)
    for (const removal of removals) {
      const entry = { version }
      this.#underWay.add(entry)
      void removal.then(() => {
        this.#underWay.delete(entry)
        this.repeat()
      })
    }
    this.repeat()
  }

  /** Tells the MDM what is in effect; also after a new connection. */
  repeat(): void {
    let version = this.#version
    for (const entry of this.#underWay) version = Math.min(version, entry.version - 1)
    if (version > 0) this.send(version)
  }
}
