import type { VolumeChunks } from '../../core/store/index.js'
import type { StoreDone, StoreError } from './device-store.js'

const nobody: StoreDone = () => {}
/** Requests kept for the next ones: as many as one session may have under way. */
const spareMax = 1024

/**
 * Requests under way. They are used again and again, callbacks included, so that the path of a read or write allocates
 * nothing here.
 */
export class ReadRequest {
  chunks: VolumeChunks | null = null
  done: StoreDone = nobody
  readonly onDisk: (errno: string | null) => void

  constructor(finish: (read: ReadRequest, errno: string | null) => void) {
    this.onDisk = errno => finish(this, errno)
  }
}

/** A write, or a zeroing if it has no pieces. */
export class ChangeRequest {
  chunks: VolumeChunks | null = null
  chunk = 0
  slot = 0
  offset = 0
  length = 0
  pieces: readonly Buffer[] | null = null
  done: StoreDone = nobody
  /** Writes the chunk's index entry. */
  filling = false
  /** Disk and index, whichever are under way. */
  partsLeft = 0
  mediaError: string | null = null
  indexError: string | null = null
  readonly onDisk: (errno: string | null) => void
  readonly onIndex: (text: string | null) => void

  constructor(finishPart: (change: ChangeRequest) => void) {
    this.onDisk = errno => {
      this.mediaError ??= errno
      finishPart(this)
    }
    this.onIndex = text => {
      this.indexError = text
      finishPart(this)
    }
  }

  get error(): StoreError | null {
    if (this.mediaError !== null) return { kind: 'media', errno: this.mediaError }
    return this.indexError === null ? null : { kind: 'meta', text: this.indexError }
  }
}

/** Requests not in use. */
export class Spare<Request extends { done: StoreDone; chunks: VolumeChunks | null }> {
  private readonly spare: Request[] = []

  constructor(private readonly make: () => Request) {}

  take(): Request {
    return this.spare.pop() ?? this.make()
  }

  /** Lets go of everything that the request held on to. */
  give(request: Request): void {
    request.done = nobody
    request.chunks = null
    if (this.spare.length < spareMax) this.spare.push(request)
  }
}
