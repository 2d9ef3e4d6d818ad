import type { SdsId } from '../base/ids.js'
import { type ClusterMap, copiesOf } from '../model/index.js'

/** Who shares slices with whom: computed once per map version. */
export class Partners {
  #version = -1
  readonly #partners = new Map<SdsId, Set<SdsId>>()
  #someLeft = false

  constructor(readonly map: ClusterMap) {}

  of(sdsId: SdsId): Iterable<SdsId> {
    this.#refresh()
    return this.#partners.get(sdsId) ?? []
  }

  /** There is a slice whose copy has left. */
  get someLeft(): boolean {
    this.#refresh()
    return this.#someLeft
  }

  #refresh(): void {
    const { map } = this
    if (this.#version === map.version) return
    this.#version = map.version
    this.#partners.clear()
    this.#someLeft = false
    for (const records of map.slices.values())
      for (const record of records) {
        if (record.left) this.#someLeft = true
        const sdss = copiesOf(record).map(id => map.tables.devices.get(id)?.sdsId)
        for (const one of sdss) for (const two of sdss) if (one && two && one !== two) this.#add(one, two)
      }
  }

  #add(one: SdsId, two: SdsId): void {
    const partners = this.#partners.get(one)
    if (partners) partners.add(two)
    else this.#partners.set(one, new Set([two]))
  }
}
