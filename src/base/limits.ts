import { GiB, KiB, MiB } from './units.js'

/** Every bound of the system, with who relies on it. Those that must agree are checked where the file is loaded. */

/** The largest payload of one data frame: a request never crosses a chunk. */
export const frameBodyBytesMax = 1 * MiB + 64 * KiB
/** The largest control message: a full map of a large system. */
export const controlBytesMax = 256 * MiB
/** The largest snapshot that one MDM takes from another. */
export const snapshotBytesMax = 1 * GiB
/** The largest payload of one NBD request (what nbdkit and qemu-nbd allow as well). */
export const nbdPayloadBytesMax = 32 * MiB
/** Bytes of NBD options before a client is turned away. */
export const nbdOptionBytesMax = 64 * KiB
/** Export names, as the NBD specification bounds strings. */
export const nbdNameBytesMax = 4096
/** Requests that one NBD connection may have in flight, and the bytes of their payloads. */
export const nbdRequestsInFlightMax = 256
export const nbdBytesInFlightMax = 64 * MiB
/** Requests that one data session may have unanswered at an SDS. */
export const sessionRequestsMax = 1024

export const sliceCountDefault = 1024
/**
 * A FLUSH of all slices of a pool is one frame, and the map of the pool one control message. Up to 8192 slices the smallest volume
 * (8 GiB, so many chunks) fills all of them evenly; beyond that it lies in a part of them.
 */
export const sliceCountMax = 65_536

export const nameLengthMax = 31
export const volumeBytesMax = 1024 * 1024 * GiB
export const deviceBytesMin = 1 * GiB

/** Thin volumes of a pool together may promise this many times its usable capacity. */
export const thinOversubscriptionMax = 10

/** RAM read cache of an SDS. */
export const rmcacheBytesDefault = 64 * MiB
export const rmcacheBytesMin = 4 * MiB
export const rmcacheBytesMax = 64 * GiB

/** Of a write that may stay below TypeScript: native/src/write-lane.cc and relay.cc say the same. */
export const writeBelowBytesMax = 128 * KiB
