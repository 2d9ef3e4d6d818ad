import { StorageError } from '../base/errors.js'
import type { RaftMessage } from '../core/raft/index.js'
import { check } from '../wire/check.js'
import {
  type ControlMessage,
  type PeerAnswers,
  type PeerRequestName,
  type PeerRequests,
  peerNotices,
  peerRequests,
} from '../wire/control.js'
import type { Cluster } from './cluster.js'
import type { Peer } from './peer.js'
import type { SnapshotReceiver } from './snapshot-pieces.js'

type Handlers = { [N in PeerRequestName]: (params: PeerRequests[N], peer: Peer) => Promise<PeerAnswers[N]> }

/** Takes what other MDMs say and ask, on connections of either's making. */
export class PeerService {
  receiver: SnapshotReceiver | null = null

  constructor(readonly cluster: Cluster) {}

  /** Throws where the other one does not keep to the protocol: the connection is then closed. */
  take(peer: Peer, message: ControlMessage): void {
    if (message.kind === 'notice') this.#takeNotice(peer, message.name, message.params)
    else if (message.kind === 'request') void this.#serve(peer, message)
  }

  #takeNotice(peer: Peer, name: string, params: unknown): void {
    const { node, identity } = this.cluster
    if (name !== 'raft' || node === null) return
    for (const message of check(peerNotices.raft, params, name).messages as RaftMessage[])
      if (message.to === identity?.id && message.from === peer.mdmId) node.driver.step(message)
  }

  async #serve(peer: Peer, { id, name, params }: Extract<ControlMessage, { kind: 'request' }>): Promise<void> {
    try {
      if (!Object.hasOwn(this.#handlers, name))
        throw new StorageError('BAD_REQUEST', { request: name.slice(0, 64), detail: 'MDMs do not ask this' })
      const known = name as PeerRequestName
      const handle = this.#handlers[known] as (params: never, peer: Peer) => Promise<unknown>
      peer.answer(id, await handle(check(peerRequests[known], params, name) as never, peer))
    } catch (error) {
      peer.refuse(id, error)
      if (!(error instanceof StorageError)) queueMicrotask(() => raise(error))
    }
  }

  readonly #handlers: Handlers = {
    attach: params => this.cluster.attach(params),
    detach: params => this.cluster.detach(params),
    peerStatus: async (_, peer) => {
      const { node } = this.cluster
      return {
        term: node?.role.term ?? 0,
        index: node?.index ?? 0,
        digest: node?.replica?.digest ?? null,
        failure: node?.failure ?? null,
        votes: this.#votes(peer),
      }
    },
    diverged: async ({ index, digest }) => {
      const { node } = this.cluster
      const own = node?.replica?.digestAt(index) ?? null
      if (own !== null && own !== digest)
        node!.diverged(`the log up to ${index} has other effects here than at the master`)
      return {}
    },
    snapshotPiece: async piece => {
      if (this.receiver === null) throw this.cluster.notMaster()
      return { wanted: this.receiver.take(piece) }
    },
  }

  /** Whether the one that asks is a member, as far as the log is applied here; null: that is not known. */
  #votes({ mdmId }: Peer): boolean | null {
    const { map } = this.cluster
    if (map === null || mdmId === null) return null
    const membership = map.tables.mdms.get(mdmId)?.membership
    return membership === 'member' || membership === 'leaving'
  }
}

function raise(error: unknown): never {
  throw error
}
