import net from 'node:net'
import type { Endpoint } from '../model/objects.js'
import { addon } from './addon.js'
import { type ByteStream, type ByteStreamOwner, takeDescriptor } from './byte-stream.js'
import { backlog, connectionsMax } from './tcp-options.js'

/**
 * A data endpoint's second door, for processes of its own host: a unix socket by which they agree on memory that they share
 * (docs/PROTOCOL.md, data). Its name is an abstract one (unix(7)): it leaves no file behind, goes with the process, and is seen in the same network
 * namespace alone. Anybody may take a name: who knocks goes in only where the process behind it could have all that ours
 * has, being the superuser's or of the same user.
 */
const nameOf = ({ host, port }: Endpoint): string => `blockmesh-memory/${host}:${port}`

/** Who came through the door, for logs. */
export const localRemote: Endpoint = { host: 'this host', port: 0 }

/** Sockets are accepted unread. null: it cannot be opened, and all come by TCP. */
export function openLocalDoor(at: Endpoint, accept: (socket: net.Socket) => void): net.Server | null {
  const fd = addon.localListen(nameOf(at))
  if (fd < 0) return null
  const server = net.createServer({ pauseOnConnect: true }, accept)
  server.maxConnections = connectionsMax
  server.on('error', () => {})
  return server.listen({ fd, backlog })
}

/** null: most endpoints are other hosts' and have no door here. */
export function knockLocally(to: Endpoint, owner: ByteStreamOwner): ByteStream | null {
  const fd = addon.localConnect(nameOf(to))
  const stream = fd < 0 ? null : takeDescriptor(fd, 0, owner)
  stream?.share(true)
  return stream
}
