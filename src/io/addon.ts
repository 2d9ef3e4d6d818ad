import { createRequire } from 'node:module'
import { getSystemErrorName } from 'node:util'

/** The C++ addon's verbs. TypeScript validates; the addon makes the system call and says which errno came back. */
export interface Addon {
  /**
   * Before the first `engineSubmit`, once. `submission` holds operations of `fieldsPerOp` numbers (see FileEngine),
   * `completions` pairs of slot and errno; `wake(count)` is told how many pairs are there by threads, and must not throw.
   * Where `mayUseRing`, direct transfers go through io_uring, and end with the turn; returns whether they do.
   */
  engineStart(
    submission: Float64Array,
    completions: Int32Array,
    wake: (count: number) => void,
    mayUseRing: boolean,
  ): boolean
  /** Takes `count` operations from the submission array, and their buffers, in order, from `pieces`. */
  engineSubmit(count: number, pieces: readonly Uint8Array[]): void

  /** How far from the start of a page of memory the buffer begins. */
  placeInPage(buffer: Uint8Array): number

  /**
   * Once: `onTurn` is told at the end of each turn of the loop how many pairs of `completions` and of `events` are there, if
   * there are any. It must not throw.
   */
  turnStart(onTurn: (completions: number, events: number) => void): void

  /** Opens and locks. `exclusive` for block devices (O_EXCL); `create` makes the file, `createBytes` long. */
  fileOpen(options: FileOpen): Promise<OpenedFile>
  /** Takes room on the file system for the file's first `bytes`, written or not; its size stays as it is. */
  fileAllocate(path: string, bytes: number): Promise<void>
  /** Finishes what was submitted, then closes, which ends the lock. */
  fileClose(handle: number): Promise<void>

  /**
   * Before the first `streamAdopt`, once. `states` has three numbers for each stream: where in its memory the next read goes
   * (JavaScript says so), bytes not sent yet, and calls of `streamSend` of which not everything has been sent.
   * `events` are pairs of stream and event, more than 0: bytes read; 0: the other side has ended; less than 0: an errno, after
   * which nothing comes; 2^31 - 1: something was sent that had to wait; 2^31 - 2: see `streamReturned`.
   */
  streamsStart(states: Float64Array, events: Int32Array): void
  /** Takes over a connected stream socket; returns its number, or -1, having closed it, where there are too many. */
  streamAdopt(fd: number, sendBufferBytes: number): number
  /** Its bytes are to go through memory that is shared with the other side, which does the same; who connects makes it. */
  streamShare(stream: number, isMaker: boolean): void
  /** Where reads go from now on; the caller keeps it. Reading begins with the first memory. */
  streamMemory(stream: number, memory: Uint8Array): void
  /** Sends in order; the caller keeps the pieces until they have been sent. */
  streamSend(stream: number, pieces: readonly Uint8Array[]): void
  streamRead(stream: number, on: boolean): void
  /** Ends our direction after what was sent before. */
  streamEnd(stream: number): void
  /** Closes the descriptor and drops what is unsent; nothing is told of it any more. */
  streamClose(stream: number): void

  /**
   * From the next byte on it carries frames (1) or requests of an NBD client (2), who wants structured replies or not: the
   * lanes and the relay look at them. 0: they look no more, and the relay gives back what came on it.
   */
  streamCarries(stream: number, what: 0 | 1 | 2, isStructured: boolean): void
  /** How many answers they await from there. */
  streamAwaited(stream: number): number
  /** The requests that these have given back, one behind the other, each with its payload. */
  streamReturned(stream: number): Buffer
  /**
   * Once. `form` is what `readPassGive` reads, `voids` counts what makes passes void, and
   * `tallies` has four numbers for each tally: reads, bytes, reads under way, and reads given back.
   */
  readLaneStart(form: Float64Array, voids: Float64Array, tallies: Float64Array, deadlines: Float64Array): void
  /** Gives the pass that the form describes. */
  readPassGive(): void
  /** Once: lanes keep what they read and write of direct files in so much memory. `tally` counts what is read from there. */
  readCacheStart(bytes: number, tallies: Float64Array, tally: number): void
  /** Once. `form` is what `writePassGive` reads, `tallies` the same as the read lane's. */
  writeLaneStart(form: Float64Array, tallies: Float64Array, deadlines: Float64Array): void
  /** For tests: every disk is taken for one that ends all its writes together from here on, see native/src/write-gate.h. */
  writeLaneGroups(): void
  /** Whether there are passes for that file: direct ones, where the kernel has io_uring. */
  writeLaneServes(handle: number): boolean
  /** Gives the pass that the form describes; returns its number, or -1. */
  writePassGive(): number
  /** Ends a pass; the operation of the file engine that was named with it ends when it has. */
  writePassEnd(pass: number): void
  /** After its end: what waits for the other copy alone is not waited for any longer. */
  writePassCut(pass: number): void
  /** What it leaves unfinished, frame by frame, after it has ended; its number is another one's from then on. */
  writePassTake(pass: number): Buffer
  /** The errno that the disk has ended a write of it with, before its end is taken; 0: none. */
  writePassError(pass: number): number
  /** What has been carried out under it. */
  writePassDone(pass: number): number
  /** Once. `form` is what `relayRoute` reads, `tallies` the same as the lanes'. */
  relayStart(form: Float64Array, tallies: Float64Array): void
  /** Notes for routes, which the addon reads and changes; returns their number. */
  relayAddNotes(cells: Uint32Array, below: Uint32Array): number
  /** Writes with these notes that were sent and that the SDS has not answered. */
  relayUnanswered(notes: number): number
  relayDropNotes(notes: number): void
  /** Sets the route that the form describes. */
  relayRoute(): void
  /** What was sent on before that moment of `bootTimeMs` is given back; Infinity: everything, and there are no routes left. */
  relayTakeBack(sinceMs: number): void

  socketPair(): [number, number]
  fdDup(fd: number): number
  fdClose(fd: number): void
  /** True where nobody holds the other end of a socket. */
  fdIsHungUp(fd: number): boolean
  /** A descriptor that listens by an abstract unix name, or an errno with its sign turned. */
  localListen(name: string): number
  /**
   * A descriptor connected to who listens by that name, or an errno with its sign turned: `-EACCES` where the process was
   * neither the superuser's nor of our own user when it began to listen. It does not wait.
   */
  localConnect(name: string): number
  /** Both directions of a socket, for every process that shares it. */
  fdShutDown(fd: number): void

  /** Throws where the kernel has no netlink family `nbd` now. */
  nbdFamily(): void
  /** Resolves to the device's index where the kernel answers with one, else -1. */
  nbdRequest(request: NbdRequest): Promise<number>

  /** PR_SET_IO_FLUSHER for every thread of the process. */
  ioFlusherSet(): void
  /** PR_GET_IO_FLUSHER of this thread. */
  ioFlusherGet(): boolean
  /** Locks the program and its libraries, as mapped now, in memory; returns how many bytes that is. */
  memoryLockFiles(): number
  /** The calling thread, and no other, runs on these CPUs alone from now on. */
  loopCpusSet(cpus: readonly number[]): void
  /** CLOCK_BOOTTIME in milliseconds, with fractions. */
  bootTimeMs(): number
}

export interface FileOpen {
  path: string
  create: boolean
  createBytes: number
  direct: boolean
  exclusive: boolean
}

export interface OpenedFile {
  handle: number
  sizeBytes: number
  /** 1 without direct I/O. */
  alignBytes: number
  isBlock: boolean
  created: boolean
}

/** NBD_CMD_ of linux/nbd-netlink.h. */
export const nbdCommands = { connect: 1, disconnect: 2, reconfigure: 3 } as const

export interface NbdRequest {
  command: (typeof nbdCommands)[keyof typeof nbdCommands]
  index?: number
  sizeBytes?: number
  blockBytes?: number
  timeoutSec?: number
  deadConnectionTimeoutSec?: number
  serverFlags?: number
  clientFlags?: number
  socketFds?: readonly number[]
  identifier?: string
}

/** What the addon throws and rejects with. */
export interface AddonError extends Error {
  /** Positive, as in errno.h. */
  errno: number
  /** The system call that failed. */
  call: string
  /** The kernel's own words, mostly empty. */
  words: string
}

export const isAddonError = (error: unknown): error is AddonError =>
  error instanceof Error && typeof (error as Partial<AddonError>).call === 'string'

// What block devices answer and libuv has no name for.
const namesBesides = new Map([
  [52, 'EBADE'],
  [61, 'ENODATA'],
  [67, 'ENOLINK'],
  [84, 'EILSEQ'],
  [121, 'EREMOTEIO'],
  [123, 'ENOMEDIUM'],
])

/** `ENOSPC` for 28. */
export const errnoName = (errno: number): string => namesBesides.get(errno) ?? getSystemErrorName(-errno)

/** `ioctl BLKSSZGET: ENOTTY`, with the kernel's words if it had any. */
export const addonErrorText = (error: AddonError): string =>
  `${error.call}: ${errnoName(error.errno)}${error.words === '' ? '' : ` (${error.words})`}`

// From dist/src/io to the root of the project.
export const addon = createRequire(import.meta.url)('../../../native/build/Release/blockmesh.node') as Addon
