import type net from 'node:net'
import type { Endpoint } from '../model/objects.js'

/** Of one listener: connections at a time, and those that wait to be accepted. */
export const connectionsMax = 4096
export const backlog = 1024
export const connectTimeoutMs = 5_000
/** After a close, how long the other side may take to read what was sent before. */
export const lingerMs = 2_000
/** Batches leave when they are complete, and a peer whose host is gone is noticed some day. */
export const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 10_000 }

export const remoteOf = (socket: net.Socket): Endpoint => ({
  host: socket.remoteAddress ?? '',
  port: socket.remotePort ?? 0,
})
