import { lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { StorageError } from '../../base/errors.js'
import type { Endpoint } from '../../model/objects.js'
import type { BlockBackend, ExportTable } from './backend.js'
import { type NbdConnection, type ServeOptions, serveNbd } from './connection.js'
import { listenerConnectionsMax } from './limits.js'
import { SocketStream } from './socket-stream.js'
import type { NbdStream } from './stream.js'

/** The one file of this folder that knows sockets. */

export type NbdAddress = { socketPath: string } | Endpoint

export interface NbdListener {
  /** The TCP port (port 0 picks one); 0 on a unix socket. */
  readonly port: number
  connections(): number
  /** Closes the clients of one export: it is no longer offered. */
  closeExport(backend: BlockBackend): Promise<void>
  /** Takes no new clients, closes the ones it has (see `NbdConnection.close`), removes the unix socket. */
  close(): Promise<void>
}

/** The kernel's limit for the path of a unix socket, without the final zero. */
const socketPathBytesMax = 107

/**
 * Serves NBD clients at a unix socket or TCP address. A socket file that is left from an earlier process is replaced if
 * nobody answers on it. Throws DEVICE_BUSY where somebody does, CONFIGURATION or UNREACHABLE where it cannot listen.
 */
export async function listenNbd(
  at: NbdAddress,
  exports: ExportTable,
  options: Omit<ServeOptions, 'onClosed'>,
): Promise<NbdListener> {
  const served = new Set<NbdConnection>()
  // Half-open: a client that has sent its last request and shut its side down still gets its answers.
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true, pauseOnConnect: true }, socket => {
    // Node counts no connection that the addon has taken.
    if (served.size >= listenerConnectionsMax) {
      socket.destroy()
      return
    }
    const stream = SocketStream.over(socket)
    if (stream === null) return
    const connection = serveNbd(stream, exports, options)
    served.add(connection)
    void connection.closed.then(() => served.delete(connection))
  })
  if ('socketPath' in at) await listenAtPath(server, at.socketPath)
  else await listenAt(server, { host: at.host, port: at.port })
  const bound = server.address()
  return {
    port: bound !== null && typeof bound === 'object' ? bound.port : 0,
    connections: () => served.size,
    async closeExport(backend) {
      const clients = [...served].filter(connection => connection.backend === backend)
      await Promise.all(clients.map(connection => connection.close()))
    },
    async close() {
      const closed = new Promise<void>(resolve => server.close(() => resolve()))
      await Promise.all([...served].map(connection => connection.close()))
      await closed
    },
  }
}

/** Our end of a socket pair that the kernel's NBD driver speaks on. The descriptor now belongs to the stream. */
export function streamOfSocketFd(fd: number): NbdStream {
  return SocketStream.overDescriptor(fd)
}

async function listenAtPath(server: Server, socketPath: string): Promise<void> {
  if (Buffer.byteLength(socketPath) > socketPathBytesMax)
    throw new StorageError('CONFIGURATION', {
      detail: 'the path of the NBD socket is too long',
      path: socketPath,
      maxBytes: socketPathBytesMax,
      remedy: 'choose a shorter path',
    })
  await removeStale(socketPath)
  await listenAt(server, { path: socketPath })
}

/** Removes a socket file that no process listens on. Anything else stays, and is an error. */
async function removeStale(socketPath: string): Promise<void> {
  const found = await lstat(socketPath).catch(() => null)
  if (found === null) return
  const busy = (detail: string, remedy: string) => new StorageError('DEVICE_BUSY', { detail, path: socketPath, remedy })
  if (!found.isSocket()) throw busy('something that is not a socket is at the path of the NBD socket', 'remove it')
  if (await answers(socketPath)) throw busy('another process serves the NBD socket', 'stop it, or choose another path')
  await unlink(socketPath)
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect({ path: socketPath })
    probe.on('connect', () => {
      probe.destroy()
      resolve(true)
    })
    // Only a refused connection proves that nobody listens.
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'ECONNREFUSED'))
  })
}

function listenAt(server: Server, at: { path: string } | Endpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException) => {
      const where = 'path' in at ? at.path : `${at.host}:${at.port}`
      const detail = 'cannot listen for NBD clients'
      reject(new StorageError('UNREACHABLE', { detail, at: where, errno: cause.code }, { cause }))
    }
    server.once('error', onError)
    server.listen(at, () => {
      server.off('error', onError)
      // Errors of accept() (no descriptors left) concern one client; those that are served go on.
      server.on('error', () => {})
      resolve()
    })
  })
}
