import net from 'node:net'
import { MiB } from '../base/units.js'
import type { Endpoint } from '../model/objects.js'
import { addon } from './addon.js'
import { connectionsMax } from './tcp-options.js'

/**
 * A data endpoint's second door, for processes of its own host: a unix socket costs half of what TCP costs over loopback.
 * Its name is an abstract one (unix(7)): it leaves no file behind, it goes with the process, and only the same network
 * namespace sees it, so that whoever reaches it would reach the endpoint by TCP as well.
 */
const nameOf = ({ host, port }: Endpoint): string => `\0blockmesh-data/${host}:${port}`

/** Who came through the door, for logs. */
export const localRemote: Endpoint = { host: 'this host', port: 0 }

/** A 1 MiB answer fits; by default it would take five turns. */
export const localSendBufferBytes = MiB

/** Opens the door at once. Where that cannot be, all come by TCP. Sockets are accepted unread. */
export function openLocalDoor(at: Endpoint, accept: (socket: net.Socket) => void): net.Server {
  const server = net.createServer({ pauseOnConnect: true }, accept)
  server.maxConnections = connectionsMax
  server.on('error', () => {})
  return server.listen({ path: nameOf(at), backlog: 1024 })
}

/** Not connected yet. An error `ECONNREFUSED` says that the endpoint is another host's, or closed. */
export const knockLocally = (to: Endpoint): net.Socket => net.connect({ path: nameOf(to) })

/**
 * Anybody may take a name. Behind this one is a process that could have whatever ours has: it is the superuser's, or runs as
 * the same user.
 */
export function isTrusted(socket: net.Socket): boolean {
  const { _handle: handle } = socket as unknown as { _handle: { fd: number } | null }
  const user = handle === null ? -1 : addon.fdPeerUser(handle.fd)
  return user === 0 || user === process.geteuid!()
}
