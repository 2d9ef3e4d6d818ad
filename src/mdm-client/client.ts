import type { ClusterMap, Endpoint, MapDelta } from '../model/index.js'
import type { Clock, Link, Log } from '../ports/index.js'
import type { AnswerOf, MdmNotices, MdmRequestName, MdmRequests, SdsRequests } from '../wire/control.js'

/** What the owner of an `MdmClient` gives and hears. */
export interface MdmClientOptions {
  addresses: Endpoint[]
  role: 'sds' | 'sdc' | 'tool'
  name: string
  /** null: takes any system (and learns its id from the answer). */
  systemId: string | null
  clock: Clock
  link: Link
  log: Log
  /** Called on every connection after `hello`; registers. Errors are logged and the connection tried again later. */
  onConnected?(client: MdmClient): Promise<void>
  /** A map notice was applied to `client.map`. `whole`: it replaced everything. Not called for tools. */
  onMap?(map: ClusterMap, deltas: MapDelta[], whole: boolean): void
  /** The MDM asks (SDS only). A rejection with a StorageError is answered as such. */
  onRequest?<N extends keyof SdsRequests>(name: N, params: SdsRequests[N]): Promise<unknown>
  /** The SDS was added to the system: register again. */
  onAdopted?(): void
  /** The system refuses this process for good (WRONG_SYSTEM, other version): the daemon should end with this error. */
  onRefused?(error: Error): void
}

/**
 * A connection to the MDM cluster that looks for the master among the addresses, comes back by itself (backing off from
 * 100 ms to 2 s), says hello, and keeps `map` up to date after `subscribe()`.
 */
export interface MdmClient {
  readonly map: ClusterMap
  readonly connected: boolean
  readonly systemId: string | null
  start(): void
  /**
   * Asks and waits: at the latest until `timeoutMs` (default 60 s; UNREACHABLE or TIMED_OUT then). While there is no
   * connection it waits for one. A request under way when the connection ends fails with UNREACHABLE: it may have been
   * done. Throws the MDM's StorageError.
   */
  request<N extends MdmRequestName>(
    name: N,
    params: MdmRequests[N],
    options?: { timeoutMs?: number },
  ): Promise<AnswerOf<N>>
  /** Asks for map notices, now and after every reconnect. */
  subscribe(): Promise<void>
  /**
   * Map changes that came from elsewhere (an SDS handed them over). Applied, with `onMap`, as far as they continue this
   * map without a gap. True if the map is then at least as new as the newest of them.
   */
  offerDeltas(deltas: readonly MapDelta[]): boolean
  /** Sent if connected, else dropped (the next registration tells all again). */
  notice<N extends keyof MdmNotices>(name: N, params: MdmNotices[N]): void
  close(): Promise<void>
}
