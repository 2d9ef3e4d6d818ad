/** Completion of one disk operation; `error` is the system's errno name (EIO, ENOSPC …) or null. */
export type DiskDone = (error: string | null) => void

/**
 * One open file or block device, with its exclusive lock. All operations are asynchronous and may complete in any
 * order; the caller orders what overlaps. Offsets and lengths are multiples of `alignBytes` (1 for buffered I/O).
 * Buffers need no alignment. They must not change until the completion.
 */
export interface Disk {
  readonly path: string
  readonly sizeBytes: number
  readonly alignBytes: number
  /** Reads `target.length` bytes. What lies beyond the end of a file is an error. */
  read(offsetBytes: number, target: Buffer, done: DiskDone): void
  write(offsetBytes: number, pieces: readonly Buffer[], done: DiskDone): void
  /** Everything completed before this call is durable when it is done (fdatasync). */
  sync(done: DiskDone): void
  /**
   * Deallocates where it can; reads as zeroes afterwards in any case (PUNCH_HOLE; on block devices that do not promise
   * zeroes, they are written). Durable after `sync`.
   */
  erase(offsetBytes: number, lengthBytes: number, done: DiskDone): void
  /** Looks whether the disk has grown; `sizeBytes` follows. A disk that cannot tell keeps its size until it is opened again. */
  noteGrowth?(): Promise<void>
  /** Waits for what is under way, then lets go of the lock. May be called twice. */
  close(): Promise<void>
}

export interface DiskPort {
  /**
   * Opens with an exclusive lock on the very descriptor that does the I/O. `createBytes`: make a sparse file of this
   * size if the path does not exist. Throws StorageError DEVICE_BUSY, NOT_FOUND, MEDIA_ERROR.
   */
  open(path: string, options: { createBytes?: number; direct: boolean }): Promise<Disk>
  /** Paths that may hold devices, for the identity scan. */
  candidates(places: readonly string[]): Promise<string[]>
}
