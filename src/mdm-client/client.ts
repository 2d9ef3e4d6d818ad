import type { ClusterMap, Endpoint, MapDelta } from '../model/index.js'
import type { Clock, Link, Log } from '../ports/index.js'
import type { AnswerOf, MdmNotices, MdmRequestName, MdmRequests, SdsRequests } from '../wire/control.js'

/** What the owner of an `MdmClient` gives and hears. */
export interface MdmClientOptions {
  /** Of as many MDMs as are known; others are learned from the system itself. */
  addresses: Endpoint[]
  role: 'sds' | 'sdc' | 'tool'
  name: string
  /** null: takes any system (and learns its id from the answer). */
  systemId: string | null
  /**
   * Of a tool: a name of its own that nobody has used before. By it a change that is sent again, because the master has
   * changed, is done once; without it such a change fails with UNREACHABLE: it may have been done. Changes are then sent
   * one after the other; who wants several at once opens several clients.
   */
  client?: string
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
 * A connection to the master of the MDM cluster. Looks for it among the addresses, by what the others say, comes back by
 * itself when it ends, falls silent, or another MDM becomes master, says hello, and keeps `map` up to date after
 * `subscribe()`. The map never goes back.
 */
export interface MdmClient {
  readonly map: ClusterMap
  readonly connected: boolean
  readonly systemId: string | null
  start(): void
  /** Resolves when a master is connected; UNREACHABLE, with what each address said, if none is within `timeoutMs`. */
  ready(timeoutMs: number): Promise<void>
  /**
   * Asks and waits: at the latest until `timeoutMs` (default 60 s; UNREACHABLE or TIMED_OUT then). While there is no
   * master it waits for one, and asks the next one again if this one is lost; a registration alone fails then with
   * UNREACHABLE, because `onConnected` makes the next one. Throws the MDM's StorageError.
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
