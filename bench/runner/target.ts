import type { CountedProcess } from './process-usage.js'

/** Something that fio can read and write, with the processes that serve it. */
export interface Target {
  readonly name: string
  /** What it is, for the head of the report. */
  readonly info: string
  /** fio's options that lead to it. */
  fio(): string[]
  /** What fio finds in its environment besides. */
  readonly fioEnv?: NodeJS.ProcessEnv
  processes(): CountedProcess[]
  /** How long event loops were held up since this was asked last, in ms (p99.9), by role: the worst one. */
  loopMsP999?(): Promise<Record<string, number>>
  /** Writes back what the page cache holds of it, so that the next target does not pay for it. */
  settle(): Promise<void>
  /**
   * Ends its daemons until `wake`, where they would disturb others though nobody uses them: an idle Ceph syncs to the disk twice
   * a second, and a raw file beside it loses a third of its writes.
   */
  rest?(): Promise<void>
  wake?(): Promise<void>
  stop(): Promise<void>
}

/** Where targets keep their files. */
export interface TargetPlace {
  directory: string
  rangeBytes: number
}
