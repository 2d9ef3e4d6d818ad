import net from 'node:net'
import { StorageError } from '../base/errors.js'
import type { Endpoint } from '../model/objects.js'
import type { Connection, ConnectionHandlers, Link, Listener } from '../ports/link.js'
import type { ControlMessage } from '../wire/control.js'
import type { DataFrame } from '../wire/data.js'
import { type Codec, ControlCodec, DataCodec } from './tcp-codec.js'
import { TcpConnection } from './tcp-connection.js'

const connectTimeoutMs = 5_000
const connectionsMax = 4096
/** Batches leave when they are complete, and a peer whose host is gone is noticed some day. */
const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 }

export const tcpLink: Link = {
  connectData: (to, handlers) => connect<DataFrame>(to, new DataCodec(), handlers),
  connectControl: (to, handlers) => connect<ControlMessage>(to, new ControlCodec(false), handlers),
  listenData: (at, accept) => listen<DataFrame>(at, () => new DataCodec(), accept),
  listenControl: (at, accept) => listen<ControlMessage>(at, () => new ControlCodec(true), accept),
}

function connect<Message>(
  to: Endpoint,
  codec: Codec<Message>,
  handlers: ConnectionHandlers<Message>,
): Connection<Message> {
  const socket = net.connect({ host: to.host, port: to.port, ...socketOptions })
  const connection = new TcpConnection(socket, to, codec)
  socket.setTimeout(connectTimeoutMs, () => connection.fail(`no connection within ${connectTimeoutMs} ms`))
  socket.once('connect', () => socket.setTimeout(0))
  connection.start(handlers)
  return connection
}

async function listen<Message>(
  at: Endpoint,
  makeCodec: () => Codec<Message>,
  accept: (connection: Connection<Message>) => ConnectionHandlers<Message>,
): Promise<Listener> {
  const server = net.createServer(socketOptions, socket => {
    const remote = { host: socket.remoteAddress ?? '', port: socket.remotePort ?? 0 }
    const connection = new TcpConnection(socket, remote, makeCodec())
    connection.start(accept(connection))
  })
  server.maxConnections = connectionsMax
  await listening(server, at)
  // A connection that could not be accepted (too many files) is the other side's to try again.
  server.on('error', () => {})
  const { port } = server.address() as net.AddressInfo
  return {
    endpoint: { host: at.host, port },
    // Connections that are open stay their owners'.
    close: async () => {
      server.close()
    },
  }
}

/** Resolves when the server listens. */
export function listening(server: net.Server, at: Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', cause => {
      const address = `${at.host}:${at.port}`
      const remedy = 'free the address, or choose another one in the configuration'
      reject(new StorageError('UNREACHABLE', { detail: `cannot listen: ${cause.message}`, address, remedy }, { cause }))
    })
    server.listen({ host: at.host, port: at.port, backlog: 1024 }, resolve)
  })
}
