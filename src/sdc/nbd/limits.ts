import { assert } from '../../base/assert.js'
import { nbdBytesInFlightMax, nbdOptionBytesMax, nbdPayloadBytesMax } from '../../base/limits.js'
import { KiB, MiB } from '../../base/units.js'

/** Bounds of one NBD connection; those that other parts of the system rely on are in `base/limits.ts`. */

/** What NBD_INFO_BLOCK_SIZE says; requests are multiples of the first. */
export const sectorBytes = 512
export const preferredBlockBytes = 4 * KiB

/** From the greeting to the choice of an export. */
export const handshakeTimeoutMs = 10_000
export const handshakeOptionsMax = 4096
/** The data of an option that is too long to be kept is skipped up to here, so that the client gets an answer. */
export const optionSkipBytesMax = 1 * MiB
/** Answers to options that the client has not yet taken; beyond this its next options wait. */
export const optionRepliesBytesMax = 256 * KiB

/** How long a closing server waits for what is in flight, and for the client to take its replies and hang up. */
export const closeTimeoutMs = 10_000
export const lingerTimeoutMs = 2_000

/** Descriptors in one block status reply; the protocol lets a server stop early. */
export const extentsPerReplyMax = 4096

/** Parts of a payload below this are gathered into one buffer, so that a client that sends single bytes costs bytes. */
export const smallPartBytes = 2 * KiB

export const listenerConnectionsMax = 1024

assert(nbdPayloadBytesMax <= nbdBytesInFlightMax, 'the largest request is admitted')
assert(nbdOptionBytesMax <= optionSkipBytesMax, 'an option that is kept would also be skipped')
