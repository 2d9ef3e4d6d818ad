import type { BlockBackend } from './backend.js'
import { transmissionFlags as flags } from './protocol.js'

/**
 * The transmission flags of an export ("Transmission flags"), for handshakes and for the kernel. All connections share
 * one backend, so that a FLUSH on one covers the writes answered on all: CAN_MULTI_CONN is offered wherever more than
 * one connection is wanted. FAST_ZERO is not offered, since nothing here is sure to be faster than writing zeroes.
 */
export function transmissionFlagsOf(backend: BlockBackend, connections = Number.POSITIVE_INFINITY, structured = false) {
  let have = flags.hasFlags | flags.sendFlush | flags.sendFua | flags.sendTrim | flags.sendWriteZeroes | flags.sendCache
  if (backend.readOnly) have |= flags.readOnly
  if (connections > 1) have |= flags.canMultiConn
  if (structured) have |= flags.sendDf
  return have
}
