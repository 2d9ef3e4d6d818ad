import { createConnection, type Socket } from 'node:net'

const commands = { read: 0, write: 1, flush: 3, trim: 4, zero: 6 } as const
export type NbdCommand = keyof typeof commands

const requestMagic = 0x25609513
const replyMagic = 0x67446698
const optionGo = 7
const infoExport = 0
const flagFua = 1
const flagNoHole = 2

export interface NbdRequest {
  readonly command: NbdCommand
  readonly offsetBytes: number
  readonly lengthBytes: number
  readonly isFua?: boolean
  readonly isNoHole?: boolean
  /** For a write. */
  readonly bytes?: Buffer
}

/** `errno` null: done; `bytes` is what a read found. */
export type NbdDone = (errno: number | null, bytes: Buffer) => void

const nothing = Buffer.alloc(0)

/** One connection to a volume: the least of NBD that a load needs. */
export class NbdClient {
  readonly #waiting = new Map<number, { lengthBytes: number; done: NbdDone }>()
  readonly #received: Buffer[] = []
  #receivedBytes = 0
  #nextCookie = 1
  #isLost = false

  private constructor(
    readonly socket: Socket,
    readonly onLost: (reason: string) => void,
  ) {}

  /** Shakes hands. `onLost` is called once when the connection ends; what was not answered by then never will be. */
  static async connect(socketPath: string, volume: string, onLost: (reason: string) => void): Promise<NbdClient> {
    const socket = createConnection(socketPath)
    try {
      await shakeHands(socket, volume)
    } catch (error) {
      socket.destroy()
      throw error
    }
    const client = new NbdClient(socket, onLost)
    socket.removeAllListeners()
    socket.on('error', error => client.#lose(error.message))
    socket.on('close', () => client.#lose('the connection was closed'))
    socket.on('data', bytes => client.#take(bytes))
    if (socket.destroyed) setImmediate(() => client.#lose('the connection was closed'))
    return client
  }

  get isLost(): boolean {
    return this.#isLost
  }

  send(request: NbdRequest, done: NbdDone): void {
    const cookie = this.#nextCookie++
    const { command, offsetBytes, lengthBytes, isFua, isNoHole, bytes } = request
    this.#waiting.set(cookie, { lengthBytes: command === 'read' ? lengthBytes : 0, done })
    const head = Buffer.alloc(28)
    head.writeUInt32BE(requestMagic)
    head.writeUInt16BE((isFua ? flagFua : 0) | (isNoHole ? flagNoHole : 0), 4)
    head.writeUInt16BE(commands[command], 6)
    head.writeBigUInt64BE(BigInt(cookie), 8)
    head.writeBigUInt64BE(BigInt(offsetBytes), 16)
    head.writeUInt32BE(lengthBytes, 24)
    this.socket.cork()
    this.socket.write(head)
    if (bytes) this.socket.write(bytes)
    this.socket.uncork()
  }

  close(): void {
    this.#isLost = true
    this.socket.destroy()
  }

  #take(bytes: Buffer): void {
    this.#received.push(bytes)
    this.#receivedBytes += bytes.length
    while (this.#receivedBytes >= 16) {
      if (this.#received[0]!.length < 16) this.#join()
      const head = this.#received[0]!
      const errno = head.readUInt32BE(4)
      const cookie = Number(head.readBigUInt64BE(8))
      const waiting = this.#waiting.get(cookie)
      if (head.readUInt32BE(0) !== replyMagic || !waiting) {
        this.socket.destroy()
        this.#lose(`a reply that nobody asked for: ${head.toString('hex', 0, 16)}`)
        return
      }
      const dataBytes = errno === 0 ? waiting.lengthBytes : 0
      if (this.#receivedBytes < 16 + dataBytes) return
      this.#join()
      const all = this.#received[0]!
      this.#waiting.delete(cookie)
      this.#received[0] = all.subarray(16 + dataBytes)
      this.#receivedBytes -= 16 + dataBytes
      waiting.done(errno === 0 ? null : errno, dataBytes > 0 ? all.subarray(16, 16 + dataBytes) : nothing)
    }
  }

  #join(): void {
    if (this.#received.length > 1) this.#received.splice(0, this.#received.length, Buffer.concat(this.#received))
  }

  #lose(reason: string): void {
    if (this.#isLost) return
    this.#isLost = true
    this.onLost(reason)
  }
}

/** The fixed newstyle handshake with one option, GO. */
async function shakeHands(socket: Socket, volume: string): Promise<void> {
  let received = nothing
  let wake: () => void = () => {}
  let ended: string | null = null
  socket.on('data', bytes => {
    received = Buffer.concat([received, bytes])
    wake()
  })
  const end = (reason: string) => {
    ended ??= reason
    wake()
  }
  socket.on('error', error => end(error.message))
  socket.on('close', () => end('the connection was closed'))
  const take = async (count: number): Promise<Buffer> => {
    while (received.length < count) {
      if (ended !== null) throw new Error(`NBD handshake: ${ended}`)
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
    const taken = received.subarray(0, count)
    received = received.subarray(count)
    return taken
  }
  const greeting = await take(18)
  if (greeting.toString('latin1', 0, 16) !== 'NBDMAGICIHAVEOPT') throw new Error('NBD handshake: not an NBD server')
  const name = Buffer.from(volume)
  const go = Buffer.alloc(4 + 16 + 4 + name.length + 2)
  go.writeUInt32BE(3) // Fixed newstyle, no zeroes.
  go.write('IHAVEOPT', 4)
  go.writeUInt32BE(optionGo, 12)
  go.writeUInt32BE(4 + name.length + 2, 16)
  go.writeUInt32BE(name.length, 20)
  name.copy(go, 24)
  socket.write(go)
  let sawExport = false
  for (;;) {
    const head = await take(20)
    const type = head.readUInt32BE(12)
    const data = await take(head.readUInt32BE(16))
    if (type >= 0x80000000) throw new Error(`NBD handshake: ${data.toString() || `option error ${type}`}`)
    if (type === 3 && data.readUInt16BE(0) === infoExport) sawExport = true
    if (type === 1) break
  }
  if (!sawExport) throw new Error('NBD handshake: no size and flags')
}
