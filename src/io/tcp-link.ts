import net from 'node:net'
import { StorageError } from '../base/errors.js'
import type { Endpoint } from '../model/objects.js'
import type { Link, Listener } from '../ports/link.js'
import { ControlConnection } from './control-connection.js'
import { DataConnection } from './data-connection.js'
import { openLocalDoor } from './local-door.js'
import { backlog, connectionsMax, connectTimeoutMs, remoteOf, socketOptions } from './tcp-options.js'

/** By TCP; data between processes of one host through local doors. */
export const tcpLink: Link = {
  connectData: (to, handlers) => DataConnection.connect(to, handlers),
  connectControl(to, handlers) {
    const socket = net.connect({ host: to.host, port: to.port, ...socketOptions })
    const connection = new ControlConnection(socket, to, false)
    socket.setTimeout(connectTimeoutMs, () => connection.fail(`no connection within ${connectTimeoutMs} ms`))
    socket.once('connect', () => socket.setTimeout(0))
    connection.start(handlers)
    return connection
  },
  // Data connections are read by the addon, and not before it has them.
  async listenData(at, accept) {
    const listener = await listen(at, { pauseOnConnect: true }, socket => DataConnection.accept(socket, false, accept))
    const door = openLocalDoor(listener.endpoint, socket => DataConnection.accept(socket, true, accept))
    return {
      endpoint: listener.endpoint,
      hasLocalDoor: door !== null,
      close: async () => {
        door?.close()
        await listener.close()
      },
    }
  },
  listenControl: (at, accept) =>
    listen(at, {}, socket => {
      const connection = new ControlConnection(socket, remoteOf(socket), true)
      connection.start(accept(connection))
    }),
}

async function listen(at: Endpoint, options: net.ServerOpts, accept: (socket: net.Socket) => void): Promise<Listener> {
  const server = net.createServer({ ...socketOptions, ...options }, accept)
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
    server.listen({ host: at.host, port: at.port, backlog }, resolve)
  })
}
