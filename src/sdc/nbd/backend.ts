import type { Route } from '../../ports/index.js'

/** Completion of one request: `errno` is an NBD error name or null. */
export type BackendDone = (errno: NbdErrno | null) => void
export type NbdErrno = 'EPERM' | 'EIO' | 'ENOMEM' | 'EINVAL' | 'ENOSPC' | 'EOVERFLOW' | 'ENOTSUP' | 'ESHUTDOWN'

export interface Extent {
  lengthBytes: number
  /** A hole: not allocated, reads as zeroes. */
  hole: boolean
}

/**
 * What the NBD engine serves: one mapped volume. Ranges are inside the volume and multiples of 512 bytes; the engine has
 * checked that. Any number of requests may be under way; they complete in any order. Buffers must not change until the
 * completion.
 */
export interface BlockBackend {
  readonly name: string
  /** Changes when the volume grows: see `onResize`. */
  readonly sizeBytes: number
  readonly readOnly: boolean
  /** A line for people, in NBD_INFO_DESCRIPTION. */
  readonly description: string

  read(offsetBytes: number, target: Buffer, done: BackendDone): void
  /** After a read or write was answered: where more of its slice may go past this backend; null: nowhere, they come here. */
  route?(offsetBytes: number): Route | null
  /** `fua`: durable on both copies before `done`. */
  write(offsetBytes: number, pieces: readonly Buffer[], fua: boolean, done: BackendDone): void
  flush(done: BackendDone): void
  trim(offsetBytes: number, lengthBytes: number, fua: boolean, done: BackendDone): void
  /** `mayPunch` is false for NBD_CMD_FLAG_NO_HOLE: the range stays allocated. */
  zero(offsetBytes: number, lengthBytes: number, mayPunch: boolean, fua: boolean, done: BackendDone): void
  /** Allocation of the range, in order, adding up to `lengthBytes`; neighbours differ. */
  extents(offsetBytes: number, lengthBytes: number, done: (errno: NbdErrno | null, extents: Extent[]) => void): void
}

/** The volumes that clients may open now. */
export interface ExportTable {
  list(): BlockBackend[]
  find(name: string): BlockBackend | undefined
}
