/** What was carried out below TypeScript. */
export interface Tally {
  /** Reads or writes that were answered there. */
  readonly ios: number
  readonly bytes: number
  /** Begun and not over. */
  readonly underWay: number
  /** Came back: something had changed, or could not be done there. */
  readonly returned: number
  /** Nothing more will be counted in it, but for the ends of what is under way. */
  close(): void
}
