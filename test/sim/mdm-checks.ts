import { digest } from '../../src/core/mdm/index.js'
import type { SimCluster } from './cluster.js'
import { Violation } from './register-checker.js'

/** At most one master in each term, and one outcome of each entry, whoever applies it and however often. */
export class MasterWatch {
  readonly #masters = new Map<number, string>()
  readonly #digests = new Map<number, string>()
  /** The newest entry that any MDM has ever applied, and may have told. */
  appliedMax = 0

  heard(name: string, event: string, fields: Record<string, unknown>): void {
    if (event === 'mdm.diverged' || event === 'mdm.digestsDiffer')
      throw new Violation(`the states of MDMs differ: ${name} says ${JSON.stringify(fields)}`)
    if (event === 'mdm.applied') this.#applied(name, fields.index as number, fields.digest as string)
    if (event !== 'mdm.master') return
    const term = fields.term as number
    const other = this.#masters.get(term)
    if (other !== undefined && other !== name)
      throw new Violation(`${other} and ${name} are both master of term ${term}`)
    this.#masters.set(term, name)
  }

  #applied(name: string, index: number, digest: string): void {
    const before = this.#digests.get(index)
    if (before !== undefined && before !== digest) throw new Violation(`entry ${index} has another outcome at ${name}`)
    this.#digests.set(index, digest)
    this.appliedMax = Math.max(this.appliedMax, index)
  }
}

/** Every manager that is a member has applied as much as the master. */
export function areMdmsAlike(cluster: SimCluster): boolean {
  const map = cluster.master?.daemon.map
  if (!map) return false
  const members = [...map.tables.mdms.values()].filter(
    ({ kind, membership }) => kind === 'manager' && membership === 'member',
  )
  return members.every(({ name }) => cluster.mdmDaemon(name)?.map?.version === map.version)
}

/** What they have applied has led to the same everywhere. */
export function checkMdms(cluster: SimCluster): void {
  const found = new Map<string, string>()
  const master = cluster.master!.daemon.map!
  for (const [name, { node }] of cluster.mdmDaemons) {
    const replica = node?.replica
    if (!replica || replica.appliedIndex !== master.version) continue
    if (node.failure) throw new Violation(`${name} has stopped to apply the log: ${node.failure}`)
    found.set(`${replica.digest} ${digest(replica.state)}`, name)
  }
  if (found.size > 1) throw new Violation(`the states of ${[...found.values()].join(' and ')} differ`)
}
