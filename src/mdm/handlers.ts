import type { AnswerOf, MdmRequestName, MdmRequests } from '../wire/control.js'
import type { Mdm } from './context.js'
import type { Peer, Role } from './peer.js'
import type { Origin } from './proposer.js'

/** One request, checked and on its way to its handler. */
export interface Call<N extends MdmRequestName> {
  mdm: Mdm
  peer: Peer
  params: MdmRequests[N]
  /** Set where the client can repeat the request after a lost connection. */
  origin: Origin | null
}

export interface Handler<N extends MdmRequestName> {
  /** Who may ask. */
  roles: readonly Role[]
  handle(call: Call<N>): Promise<AnswerOf<N>> | AnswerOf<N>
}

export type Handlers<N extends MdmRequestName> = { [R in N]: Handler<R> }

export const tools: readonly Role[] = ['tool']
