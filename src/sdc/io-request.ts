import type { StorageError } from '../base/errors.js'
import type { MappingId, PoolId } from '../base/ids.js'
import type { Throttled } from '../core/qos/index.js'
import type { DataFrame } from '../wire/data.js'
import type { RoutedItem } from './data-path.js'
import type { DeviceSession, SessionItem } from './device-session.js'
import type { BackendDone, NbdErrno } from './nbd/index.js'

export type IoKind = 'read' | 'write' | 'trim' | 'zero' | 'flush'

/** One request of an application at one volume. Pooled: a request is used again when it has been answered. */
export class IoRequest implements Throttled {
  kind: IoKind = 'read'
  fua = false
  mayPunch = true
  startBytes = 0
  endBytes = 0
  /** Where the next part begins. */
  nextBytes = 0
  target: Buffer | null = null
  pieces: readonly Buffer[] = []
  done: BackendDone | null = null
  partsOpen = 0
  errno: NbdErrno | null = null
  deadlineMs = Number.POSITIVE_INFINITY
  costBytes = 0
  /** In the throttle's queue. */
  throttled = false
  nextThrottled: Throttled | null = null
  /** Links of the list of requests under way, in order of arrival. */
  activeNext: IoRequest | null = null
  activeBefore: IoRequest | null = null
}

/** What a part needs of its volume. */
export interface PartOwner {
  readonly poolId: PoolId
  readonly mappingId: MappingId
  frameForPart(part: IoPart, requestId: number): DataFrame
  partAnswered(part: IoPart, frame: DataFrame): void
  partFailed(part: IoPart, error: StorageError): void
  partDropped(part: IoPart): void
  readonly isClosed: boolean
}

/** The part of a request that lies in one chunk. Pooled. */
export class IoPart implements RoutedItem {
  readonly routed = true
  keptBy: DeviceSession | null = null
  keptNext: SessionItem | null = null
  keptBefore: SessionItem | null = null
  requestId = 0
  slice = 0
  epoch = 0
  order = 0
  notMappedSinceMs = 0
  opcode = 0
  flags = 0
  chunk = 0
  /** In the chunk. */
  offset = 0
  length = 0
  body: Buffer[] = noBody
  request: IoRequest | null = null

  constructor(readonly owner: PartOwner) {}

  get poolId(): PoolId {
    return this.owner.poolId
  }
  get mappingId(): MappingId {
    return this.owner.mappingId
  }
  get hasPayload(): boolean {
    return this.body.length > 0
  }
  frameFor(requestId: number): DataFrame {
    return this.owner.frameForPart(this, requestId)
  }
  onAnswer(frame: DataFrame): void {
    this.owner.partAnswered(this, frame)
  }
  get resend(): boolean {
    return !this.owner.isClosed
  }
  onDropped(): void {
    this.owner.partDropped(this)
  }
  onFailed(error: StorageError): void {
    this.owner.partFailed(this, error)
  }
}

export const noBody: Buffer[] = []
