import type { Endpoint } from '../model/index.js'
import type { ControlMessage, PeerRequestName, PeerRequests, PeerWelcome } from '../wire/control.js'
import type { Cluster } from './cluster.js'
import { Peer } from './peer.js'

const timeoutMs = 5_000

/** Says hello to whoever is at `endpoint`, asks one thing if told so, and lets go. */
export async function askOnce<N extends PeerRequestName>(
  cluster: Cluster,
  endpoint: Endpoint,
  request?: { name: N; params: PeerRequests[N] },
): Promise<{ welcome: PeerWelcome }> {
  const connection = cluster.link.connectControl(endpoint, {
    onMessage: (message: ControlMessage) => {
      if (message.kind === 'answer') peer.takeAnswer(message)
    },
    onClose: () => peer.ended(),
  })
  const peer = new Peer(connection, cluster.clock)
  peer.name = `${endpoint.host}:${endpoint.port}`
  try {
    const welcome = (await peer.ask('hello', cluster.helloFor(null), timeoutMs)) as PeerWelcome
    if (request) await peer.ask(request.name, request.params, timeoutMs)
    return { welcome }
  } finally {
    peer.ended()
    connection.close()
  }
}
