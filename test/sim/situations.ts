/** What a long run must have reached at least once, or it has not tested what it is for. */
export const expectedSituations = [
  'acknowledged writes',
  'reads checked',
  'SDC killed with requests under way',
  'request sent again to a new SDC process',
  'session superseded',
  'stale epoch refused',
  'request waited for the map',
  'SDS killed with requests under way',
  'power loss with unsynced data',
  'power loss with an unsynced index',
  'power loss of all SDSs',
  'unclean copy rejoined',
  'copy joined',
  'filling interrupted',
  'filling interrupted by a role change',
  'secondary promoted',
  'both copies of a slice unclean',
  'slices waited for the other copy',
  'unsynced writes given up',
  'FLUSH reported a loss',
  'clean restart of an SDS',
  'clean stop kept the roles',
  'ENOSPC',
  'read answered by the other copy',
  'process stalled',
  'one-way partition',
  'MDM killed',
  'MDM restarted while slices waited',
] as const
export type Situation = (typeof expectedSituations)[number]

export class Situations {
  readonly counts = new Map<string, number>()

  reached(situation: Situation, times = 1): void {
    if (times > 0) this.counts.set(situation, (this.counts.get(situation) ?? 0) + times)
  }

  add(counts: Iterable<[string, number]>): void {
    for (const [situation, times] of counts) this.counts.set(situation, (this.counts.get(situation) ?? 0) + times)
  }

  get missing(): Situation[] {
    return expectedSituations.filter(situation => !this.counts.has(situation))
  }

  table(): string {
    return expectedSituations
      .map(situation => `  ${situation.padEnd(44)} ${String(this.counts.get(situation) ?? 0).padStart(9)}`)
      .join('\n')
  }
}
