import { StorageError } from '../base/errors.js'
import { snapshotBytesMax } from '../base/limits.js'
import { MiB } from '../base/units.js'
import type { SnapshotHead } from '../core/raft/index.js'
import type { PeerRequests } from '../wire/control.js'
import type { MdmLink } from './mdm-link.js'
import type { Node } from './node.js'
import type { RaftDriver } from './raft-driver.js'

const pieceBytes = 1 * MiB
const pieceTimeoutMs = 10_000

type Snapshot = ReturnType<Node['snapshot']>

/** Sends a snapshot, one piece after the other. True: all of it is there; false: it was not wanted any more. */
export async function sendSnapshot(link: Pick<MdmLink, 'ask'>, { head, content }: Snapshot): Promise<boolean> {
  for (let offset = 0; offset < content.length; offset += pieceBytes) {
    const bytes = content.subarray(offset, offset + pieceBytes)
    const piece = { head: head as never, offset, total: content.length, bytes: Buffer.from(bytes) }
    const { wanted } = await link.ask('snapshotPiece', piece, pieceTimeoutMs)
    if (!wanted) return false
  }
  return true
}

/** Puts the pieces of one snapshot together. Memory grows only with what really came. */
export class SnapshotReceiver {
  #head: SnapshotHead | null = null
  #pieces: Uint8Array[] = []
  #haveBytes = 0

  constructor(readonly driver: Pick<RaftDriver, 'wantsSnapshot' | 'snapshotReceived'>) {}

  /** False: it is of no use here. Throws BAD_ARGUMENT where a piece does not continue the ones before. */
  take({ head, offset, total, bytes }: PeerRequests['snapshotPiece']): boolean {
    if (total > snapshotBytesMax)
      throw new StorageError('LIMIT_REACHED', { detail: 'the snapshot is too large', total, max: snapshotBytesMax })
    if (offset === 0) {
      if (!this.driver.wantsSnapshot(head)) return false
      this.#head = head
      this.#pieces = []
      this.#haveBytes = 0
    }
    if (this.#head?.index !== head.index || this.#head.term !== head.term || offset !== this.#haveBytes)
      throw new StorageError('BAD_ARGUMENT', {
        field: 'offset',
        have: this.#haveBytes,
        offset,
        detail: 'a piece is missing',
      })
    this.#pieces.push(bytes)
    this.#haveBytes += bytes.length
    if (this.#haveBytes < total) return true
    const content = Buffer.concat(this.#pieces)
    this.#head = null
    this.#pieces = []
    // Once it is durable the consensus tells the master so itself.
    this.driver.snapshotReceived(head, content)
    return true
  }
}
