/** What a long run must have reached at least once, or it has not tested what it is for. */
export const expectedSituations = [
  'changes acknowledged',
  'reads checked',
  'SDC killed with requests under way',
  'request sent again to a new SDC process',
  'SDC opened a session again',
  'SDS opened a session again',
  'older session refused',
  'stale epoch refused',
  'request waited for the map',
  'SDS killed with requests under way',
  'SDS came back after SIGKILL in the same boot',
  'SDS came back after a power loss',
  'power loss with unsynced data',
  'power loss with an unsynced index',
  'power loss of all SDSs',
  'clean restart of an SDS',
  'device found cleanly stopped',
  'copy fell out of sync',
  'copy joined',
  'filling interrupted',
  'filling interrupted by a role change',
  'secondary promoted',
  'slices waited for the other copy',
  'MDM started while slices waited',
  'unsynced writes given up',
  'FLUSH reported a loss',
  'ENOSPC',
  'process stalled',
  'one-way partition',
  'MDM killed',
  'two-way partition',
  'fault set away',
  'roles swapped',
  'roles handed over at a clean stop',
  'roles moved to where an SDC reaches them',
  'rebuild elsewhere',
  'copy moved',
  'blocks could not be read',
  'device failed',
  'device failed as its host was full',
  'device replaced by an empty one',
  'device added under load',
  'device drained under load',
  'SDS added under load',
  'SDS removed under load',
  'maintenance under load',
  'volume grown under load',
  'volume removed with requests under way',
  'thick volume',
  'no zero padding',
  'clocks of different rates',
  'marks cleared',
  'chunks pruned',
  'read waited for a lease',
  'read answered by a pass',
  'read under a pass that became void',
  'write by a pass',
  'copy written by a pass',
  'pass left a write unfinished',
  'configuration changed under faults',
  'configuration looked at',
  'master killed',
  'power loss of MDMs',
  'master stalled',
  'master cut off',
  'MDMs parted',
  'another MDM became master',
  'ownership switched',
  'cluster mode switched',
  'MDM replaced',
  'snapshot installed at an MDM',
  'log of an MDM replaced by a snapshot',
] as const
export type Situation = (typeof expectedSituations)[number] | 'device removed'

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
      .map(situation => `  ${situation.padEnd(46)} ${String(this.counts.get(situation) ?? 0).padStart(9)}`)
      .join('\n')
  }
}
