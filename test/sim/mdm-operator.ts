import { kindsOfMode } from '../../src/core/mdm/index.js'
import type { ClusterMode, Mdm } from '../../src/model/index.js'
import type { Random } from '../../src/ports/index.js'
import type { SimCluster } from './cluster.js'
import type { Operator } from './operator.js'

/** Somebody who changes the MDM cluster while things go wrong. Whatever begins is brought to its end, or was refused. */
export class MdmOperator {
  #isBusy = false

  constructor(
    readonly cluster: SimCluster,
    readonly operator: Operator,
    readonly random: Random,
  ) {}

  get #mdms(): Mdm[] {
    return [...(this.cluster.map?.tables.mdms.values() ?? [])]
  }
  #of(kind: Mdm['kind'], membership: Mdm['membership']): Mdm[] {
    return this.#mdms.filter(mdm => mdm.kind === kind && mdm.membership === membership)
  }
  #pick<T>(list: readonly T[]): T | undefined {
    return list[this.random.integer(Math.max(1, list.length))]
  }

  switchOwnership(): void {
    const successor = this.#pick(this.#of('manager', 'member'))
    if (successor === undefined) return
    this.operator.begin(`switch ownership to ${successor.name}`, async () => {
      const answer = await this.operator.ask('switchMdmOwnership', { mdm: successor.id })
      if (answer !== null && this.cluster.master?.name === successor.name) this.operator.reached('ownership switched')
    })
  }

  /** Down or up by one mode, and back to what it was at the end of the run. */
  switchMode(): void {
    const mode = this.#mode
    if (mode === null || this.cluster.plan.mdms === 1) return
    const to = (mode === 1 ? 3 : mode === 3 ? (this.cluster.plan.mdms === 3 ? 1 : 5) : 3) as ClusterMode
    this.#once(`switch from ${mode} to ${to} MDMs`, async () => {
      if (await this.#switchTo(to)) this.operator.reached('cluster mode switched')
    })
  }

  replace(): void {
    const kind = this.random.integer(3) > 0 ? 'manager' : 'tieBreaker'
    const [add, remove] = [this.#pick(this.#of(kind, 'standby')), this.#pick(this.#of(kind, 'member'))]
    if (add === undefined || remove === undefined) return
    this.#once(`replace ${remove.name} by ${add.name}`, async () => {
      const answer = await this.operator.ask('replaceClusterMdm', { add: add.id, remove: remove.id })
      if (answer !== null) this.operator.reached('MDM replaced')
    })
  }

  get #mode(): ClusterMode | null {
    const members = this.#mdms.filter(({ membership }) => membership === 'member').length
    return members in kindsOfMode ? (members as ClusterMode) : null
  }

  async #switchTo(mode: ClusterMode): Promise<boolean> {
    const have = this.#mode
    if (have === null) return false
    const step = (kind: Mdm['kind']) =>
      kind === 'manager'
        ? kindsOfMode[mode].managers - kindsOfMode[have].managers
        : kindsOfMode[mode].tieBreakers - kindsOfMode[have].tieBreakers
    const kinds = ['manager', 'tieBreaker'] as const
    const add = kinds.flatMap(kind => this.#of(kind, 'standby').slice(0, Math.max(0, step(kind))))
    const remove = kinds.flatMap(kind => this.#of(kind, 'member').slice(0, Math.max(0, -step(kind))))
    const ids = (list: Mdm[]) => list.map(({ id }) => id)
    const params = {
      mode,
      ...(add.length > 0 ? { add: ids(add) } : {}),
      ...(remove.length > 0 ? { remove: ids(remove) } : {}),
    }
    return (await this.operator.ask('switchClusterMode', params)) !== null
  }

  #once(what: string, act: () => Promise<void>): void {
    if (this.#isBusy) return
    this.#isBusy = true
    this.operator.begin(what, async () => {
      await act()
      this.#isBusy = false
    })
  }
}
