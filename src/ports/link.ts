import type { Endpoint } from '../model/objects.js'
import type { ControlMessage } from '../wire/control.js'
import type { DataFrame } from '../wire/data.js'

/** One end of a connection that carries messages of one protocol, in order, until it closes. */
export interface Connection<Message> {
  /** For logs: `127.0.0.1:4711`. */
  readonly remote: Endpoint
  /**
   * Queues a message; what is queued in one turn leaves in one vectored write. After a close it is dropped. `ownsPayload`:
   * the payload is the connection's from now on, which releases it (wire/payload-memory.ts) when it has left.
   */
  send(message: Message, ownsPayload?: boolean): void
  /** Bytes queued and not yet taken by the operating system: for back-pressure. */
  readonly queuedBytes: number
  /** Stops or restarts reading from the other side (back-pressure towards it). */
  pause(): void
  resume(): void
  /**
   * Ends the connection. Nothing is delivered afterwards, also not what was already received but not yet delivered. What
   * was sent before still leaves, unless it is dropped: then nobody looks at its payload any more.
   */
  close(dropUnsent?: boolean): void
}

/** `refused`: the connection never came up because nobody listens there, so the process is gone. */
export type CloseReason = 'refused' | 'other'

export interface ConnectionHandlers<Message> {
  onMessage(message: Message): void
  /** Called once, when the connection ends by itself or by the other side (not after `close()`), or never came up. */
  onClose(reason: string, why?: CloseReason): void
}

export interface Listener {
  readonly endpoint: Endpoint
  /** Processes of the same host have a quicker way in. */
  readonly hasLocalDoor?: boolean
  close(): Promise<void>
}

/** The network. A malformed message closes its connection; the reason says which field. */
export interface Link {
  /** Returns at once; messages sent before it is up are queued. */
  connectData(to: Endpoint, handlers: ConnectionHandlers<DataFrame>): Connection<DataFrame>
  connectControl(to: Endpoint, handlers: ConnectionHandlers<ControlMessage>): Connection<ControlMessage>
  /** Port 0 picks one. Throws StorageError UNREACHABLE if it cannot listen. */
  listenData(
    at: Endpoint,
    accept: (connection: Connection<DataFrame>) => ConnectionHandlers<DataFrame>,
  ): Promise<Listener>
  listenControl(
    at: Endpoint,
    accept: (connection: Connection<ControlMessage>) => ConnectionHandlers<ControlMessage>,
  ): Promise<Listener>
}
