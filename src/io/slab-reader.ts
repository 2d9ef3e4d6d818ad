import net from 'node:net'
import { ReceiveMemory } from '../wire/payload-memory.js'

/** The places where Node keeps what a socket's `onread` option sets; found by their names, as they have no others. */
const places = findPlaces()

interface Places {
  buffer: symbol
  callback: symbol
  next: symbol
}

function findPlaces(): Places | null {
  // The types know `onread` for connecting sockets only.
  const options = { onread: { buffer: Buffer.alloc(1), callback: () => true } }
  const socket = new net.Socket(options as net.SocketConstructorOpts)
  const named = (name: string) => Object.getOwnPropertySymbols(socket).find(symbol => symbol.description === name)
  const buffer = named('kBuffer')
  const callback = named('kBufferCb')
  const next = named('kBufferGen')
  return buffer === undefined || callback === undefined || next === undefined ? null : { buffer, callback, next }
}

interface Handle {
  useUserBuffer?(buffer: Buffer): void
}

/**
 * Has `socket` read into memory that is used again, without an allocation or a stream's turn per read, and calls `take`
 * with what each read brought: it is valid during the call, and longer only where it is cut with `cutPinned`. Node offers
 * this (`onread`) for sockets that one connects oneself, and does the same for accepted ones when it is told in the
 * same place. Where that place is not as expected, the stream's own buffers do.
 */
export function readIntoSlabs(socket: net.Socket, take: (bytes: Buffer) => void): void {
  const handle = (socket as unknown as { _handle: Handle | null })._handle
  if (places === null || typeof handle?.useUserBuffer !== 'function') {
    socket.on('data', take)
    return
  }
  const memory = new ReceiveMemory()
  const buffer = memory.room()
  const slots = socket as unknown as Record<symbol, unknown>
  slots[places.buffer] = buffer
  slots[places.next] = () => memory.room()
  slots[places.callback] = (length: number) => {
    take(memory.took(length))
    memory.consumed()
    return true
  }
  handle.useUserBuffer(buffer)
  socket.once('close', () => memory.close())
  socket.resume()
}
