import { nbdPayloadBytesMax } from '../../base/limits.js'
import type { BlockBackend, NbdErrno } from './backend.js'
import { sectorBytes } from './limits.js'
import { commandFlags, commands } from './protocol.js'

/** Why a request is not carried out: what the client is told, and a sentence for structured error chunks. */
export interface Refusal {
  errno: NbdErrno
  say: string
}

/** What the handshake has settled; the kernel door has neither. */
export interface Features {
  /** Structured replies: reads are answered in chunks, errors carry a sentence. */
  structured: boolean
  /** base:allocation was selected: BLOCK_STATUS may be asked. */
  blockStatus: boolean
}

const refusals = {
  command: { errno: 'EINVAL', say: 'unknown command' },
  flags: { errno: 'EINVAL', say: 'a command flag is unknown, not negotiated or not for this command' },
  reserved: { errno: 'EINVAL', say: 'offset and length of a flush must be 0' },
  readOnly: { errno: 'EPERM', say: 'the export is read only' },
  empty: { errno: 'EINVAL', say: 'the length is 0' },
  unaligned: { errno: 'EINVAL', say: `offset and length must be multiples of ${sectorBytes}` },
  payload: { errno: 'EINVAL', say: `the length is above ${nbdPayloadBytesMax}` },
  beyondEnd: { errno: 'EINVAL', say: 'the range ends beyond the end of the export' },
  noSpace: { errno: 'ENOSPC', say: 'the range ends beyond the end of the export' },
  context: { errno: 'EINVAL', say: 'no metadata context was selected' },
} as const satisfies Record<string, Refusal>

/** FUA is accepted everywhere ("Command flags": clients are known to set it on other commands). */
function flagsAllowed(command: number, features: Features): number {
  switch (command) {
    case commands.read:
      return features.structured ? commandFlags.fua | commandFlags.df : commandFlags.fua
    case commands.writeZeroes:
      return commandFlags.fua | commandFlags.noHole
    case commands.blockStatus:
      return commandFlags.fua | commandFlags.reqOne
    default:
      return commandFlags.fua
  }
}

const changesData = (command: number): boolean =>
  command === commands.write || command === commands.trim || command === commands.writeZeroes

const carriesPayload = (command: number): boolean => command === commands.read || command === commands.write

/**
 * Everything that a request is checked for; past it the range is whole sectors inside the export. The size is asked each
 * time, because a volume grows while it is open. DISC never comes here.
 */
export function refusalOf(
  command: number,
  flags: number,
  offsetBytes: number,
  lengthBytes: number,
  backend: BlockBackend,
  features: Features,
): Refusal | null {
  if (command > commands.blockStatus || command === commands.disconnect) return refusals.command
  if ((flags & ~flagsAllowed(command, features)) !== 0) return refusals.flags
  if (command === commands.flush) return offsetBytes === 0 && lengthBytes === 0 ? null : refusals.reserved
  if (command === commands.blockStatus && !features.blockStatus) return refusals.context
  if (backend.readOnly && changesData(command)) return refusals.readOnly
  if (lengthBytes === 0) return refusals.empty
  if (lengthBytes > nbdPayloadBytesMax && carriesPayload(command)) return refusals.payload
  if (offsetBytes % sectorBytes !== 0 || lengthBytes % sectorBytes !== 0) return refusals.unaligned
  // An offset of more than 53 bits is rounded here, and stays far beyond any end.
  if (offsetBytes + lengthBytes > backend.sizeBytes)
    return command === commands.write || command === commands.writeZeroes ? refusals.noSpace : refusals.beyondEnd
  return null
}
