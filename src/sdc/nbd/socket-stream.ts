import type { Socket } from 'node:net'
import { readIntoSlabs } from '../../io/slab-reader.js'
import type { NbdStream } from './stream.js'

/** A socket whose reads go into memory that is used again. */
export class SocketStream implements NbdStream {
  constructor(readonly socket: Socket) {}

  get destroyed(): boolean {
    return this.socket.destroyed
  }
  get writableLength(): number {
    return this.socket.writableLength
  }
  write(bytes: Uint8Array, done?: (error?: Error | null) => void): boolean {
    return this.socket.write(bytes, done)
  }
  cork(): void {
    this.socket.cork()
  }
  uncork(): void {
    this.socket.uncork()
  }
  pause(): void {
    this.socket.pause()
  }
  resume(): void {
    this.socket.resume()
  }
  end(): void {
    this.socket.end()
  }
  destroy(): void {
    this.socket.destroy()
  }
  on(event: 'data' | 'error' | 'end' | 'close' | 'drain', listener: never): void {
    if (event === 'data') readIntoSlabs(this.socket, listener)
    else this.socket.on(event, listener)
  }
}
