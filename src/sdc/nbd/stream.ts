import type { Route } from '../../ports/index.js'

/**
 * The little of a duplex stream that the engine uses: net.Socket and stream.Duplex both fit. `write` must not call
 * `done` before it returns, and calls it when the bytes have left (their memory may then change). What comes with `data`
 * is valid during the call, and longer where it is cut with `cutPinned`.
 */
export interface NbdStream {
  readonly destroyed: boolean
  readonly writableLength: number
  write(bytes: Uint8Array, done?: (error?: Error | null) => void): boolean
  cork(): void
  uncork(): void
  pause(): unknown
  resume(): unknown
  end(): unknown
  destroy(): unknown
  /**
   * Requests may be answered below from here on, which no byte of one has come before; those that are not come with `returned`,
   * each header with the payload behind it.
   */
  relays?(isStructured: boolean): void
  /** Where more requests for a slice go. */
  setRoute?(route: Route): void
  /** Nothing is answered below any more: what was under way, which is to be answered here, as with `returned`. */
  takeBack?(): Buffer
  on(event: 'returned', listener: (requests: Buffer) => void): unknown
  on(event: 'data', listener: (bytes: Buffer) => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
  on(event: 'end' | 'close' | 'drain', listener: () => void): unknown
}
