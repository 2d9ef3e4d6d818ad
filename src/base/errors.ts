/** What an error means at each door. NBD errno, wire status, exit code and retry come from this one table. */
export interface ErrorTraits {
  /** Status on the data wire; never changes its meaning. */
  wire: number
  /** What an NBD client is told. */
  nbd: 'EPERM' | 'EIO' | 'ENOMEM' | 'EINVAL' | 'ENOSPC' | 'EOVERFLOW' | 'ENOTSUP' | 'ESHUTDOWN'
  /** Exit code of scli and HTTP status of the gateway. */
  exit: number
  http: number
  /** True where the same request may succeed later, unchanged. */
  retry: boolean
  say: string
}

export const errorTable = {
  // The data path.
  STALE_EPOCH: {
    wire: 1,
    nbd: 'EIO',
    exit: 75,
    http: 503,
    retry: true,
    say: 'the request names an older configuration of the slice',
  },
  NOT_READY: { wire: 2, nbd: 'EIO', exit: 75, http: 503, retry: true, say: 'this server cannot serve the slice now' },
  NO_SESSION: {
    wire: 3,
    nbd: 'EIO',
    exit: 75,
    http: 503,
    retry: true,
    say: 'a newer session or process of this client has taken over',
  },
  NOT_MAPPED: {
    wire: 4,
    nbd: 'EPERM',
    exit: 77,
    http: 403,
    retry: false,
    say: 'the volume is not mapped to this client',
  },
  READ_ONLY: { wire: 5, nbd: 'EPERM', exit: 77, http: 403, retry: false, say: 'the volume is mapped read only' },
  OUT_OF_SPACE: { wire: 6, nbd: 'ENOSPC', exit: 28, http: 507, retry: false, say: 'no room for another chunk' },
  MEDIA_ERROR: { wire: 7, nbd: 'EIO', exit: 74, http: 500, retry: false, say: 'the device answered with an error' },
  BAD_REQUEST: { wire: 8, nbd: 'EINVAL', exit: 64, http: 400, retry: false, say: 'the request is malformed' },
  WRONG_SYSTEM: {
    wire: 9,
    nbd: 'EPERM',
    exit: 77,
    http: 403,
    retry: false,
    say: 'the other side belongs to another system',
  },
  UNSYNCED_LOST: {
    wire: 10,
    nbd: 'EIO',
    exit: 74,
    http: 500,
    retry: false,
    say: 'writes that were not flushed may have been lost',
  },
  PROTOCOL: {
    wire: 11,
    nbd: 'EIO',
    exit: 76,
    http: 500,
    retry: false,
    say: 'the other side does not speak this protocol or version',
  },
  // Control.
  NOT_FOUND: { wire: 32, nbd: 'EINVAL', exit: 66, http: 404, retry: false, say: 'there is no such object' },
  ALREADY_EXISTS: { wire: 33, nbd: 'EINVAL', exit: 73, http: 409, retry: false, say: 'it exists already' },
  IN_USE: { wire: 34, nbd: 'EINVAL', exit: 73, http: 409, retry: false, say: 'it is in use' },
  BAD_ARGUMENT: { wire: 35, nbd: 'EINVAL', exit: 64, http: 400, retry: false, say: 'an argument is not acceptable' },
  CAPACITY: { wire: 36, nbd: 'ENOSPC', exit: 28, http: 507, retry: false, say: 'there is not enough capacity' },
  PLACEMENT: { wire: 37, nbd: 'EINVAL', exit: 65, http: 409, retry: false, say: 'two copies cannot be placed' },
  LIMIT_REACHED: { wire: 38, nbd: 'EINVAL', exit: 65, http: 409, retry: false, say: 'a system limit is reached' },
  UNREACHABLE: { wire: 39, nbd: 'EIO', exit: 69, http: 503, retry: true, say: 'the other side cannot be reached' },
  TIMED_OUT: { wire: 40, nbd: 'EIO', exit: 75, http: 504, retry: true, say: 'it took too long' },
  CONFIGURATION: {
    wire: 41,
    nbd: 'EINVAL',
    exit: 78,
    http: 500,
    retry: false,
    say: 'the configuration is not acceptable',
  },
  NOT_MASTER: {
    wire: 42,
    nbd: 'EIO',
    exit: 75,
    http: 503,
    retry: true,
    say: 'this MDM is not the master of its cluster',
  },
  // Devices.
  DEVICE_FOREIGN: {
    wire: 48,
    nbd: 'EIO',
    exit: 65,
    http: 409,
    retry: false,
    say: 'the device belongs to something else',
  },
  DEVICE_NEWER: {
    wire: 49,
    nbd: 'EIO',
    exit: 65,
    http: 409,
    retry: false,
    say: 'the device has a newer format than this program knows',
  },
  DEVICE_DAMAGED: { wire: 50, nbd: 'EIO', exit: 65, http: 409, retry: false, say: 'the device is damaged' },
  DEVICE_BUSY: { wire: 51, nbd: 'EIO', exit: 73, http: 409, retry: false, say: 'the device is open elsewhere' },
  INTERNAL: { wire: 255, nbd: 'EIO', exit: 70, http: 500, retry: false, say: 'something inside went wrong' },
} as const satisfies Record<string, ErrorTraits>

export type ErrorCode = keyof typeof errorTable

/** Facts of the error, printed after the sentence: which object, which rule, which remedy. */
export interface ErrorContext {
  /** What to do about it, as a sentence for the operator. */
  remedy?: string
  [fact: string]: string | number | boolean | undefined
}

/**
 * The one error of the project: the code decides (retry, errno, exit code), the context explains, `cause` keeps the
 * original. `detail` replaces the table's sentence where more can be said.
 */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  constructor(
    readonly code: ErrorCode,
    readonly context: ErrorContext & { detail?: string } = {},
    options?: { cause?: unknown },
  ) {
    super(sentenceOf(code, context), options)
  }
}

function sentenceOf(code: ErrorCode, context: ErrorContext & { detail?: string }): string {
  const { detail, remedy, ...facts } = context
  const named = Object.entries(facts).filter(([, value]) => value !== undefined)
  const list = named.length > 0 ? ` (${named.map(([key, value]) => `${key} ${value}`).join(', ')})` : ''
  return `${detail ?? errorTable[code].say}${list}${remedy ? `; ${remedy}` : ''}`
}

const codeOfWire = new Map<number, ErrorCode>(
  Object.entries(errorTable).map(([code, traits]) => [traits.wire, code as ErrorCode]),
)

/** The code behind a wire status; unknown statuses (a newer peer's) are INTERNAL. */
export const errorCodeOfWire = (status: number): ErrorCode => codeOfWire.get(status) ?? 'INTERNAL'
