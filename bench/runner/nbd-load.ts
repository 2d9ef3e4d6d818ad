import { setTimeout as sleep } from 'node:timers/promises'
import { NbdClient, type NbdCommand, type NbdDone } from '../../test/soak/nbd-client.js'

export interface LoadOptions {
  /** Requests under way at any time, over all volumes. */
  depth: number
  /** Taken in turn. */
  sizes: readonly number[]
  /** Offsets are drawn from this much of each volume. */
  rangeBytes: number
  command?: NbdCommand
  /** The whole range once, from start to end, instead of anywhere in it for ever. */
  isSequential?: boolean
  /** A FLUSH after each request, on the same connection; they count as one. */
  isFlushed?: boolean
}

/** A client that always has the same number of requests under way, and knows to the microsecond when each was answered. */
export interface NbdLoad {
  readonly answeredAtMs: number[]
  readonly latencyMs: number[]
  /** Resolves when the time is over, or `stop` was called, or there is no more to do, and everything has been answered. */
  runFor(ms: number): Promise<void>
  stop(): void
  close(): void
}

/** One connection to each volume; requests go to them in turn. `uris`: nbd+unix:///NAME?socket=PATH. */
export async function openLoad(uris: readonly string[], options: LoadOptions): Promise<NbdLoad> {
  const { depth, sizes, rangeBytes, command = 'write', isSequential = false, isFlushed = false } = options
  let fail: (error: Error) => void = () => {}
  const lost = new Promise<never>((_, reject) => {
    fail = reject
  })
  // Whoever does not wait for anything just then hears of it the next time.
  lost.catch(() => {})
  const clients: NbdClient[] = []
  for (const uri of uris) clients.push(await connect(uri, error => fail(error)))
  const largest = Math.max(...sizes)
  const bytes = Buffer.alloc(largest, 0xa5)
  const answeredAtMs: number[] = []
  const latencyMs: number[] = []
  const places = Math.floor(rangeBytes / largest)
  const countMax = isSequential ? places * clients.length : Number.POSITIVE_INFINITY
  let untilMs = 0
  let count = 0
  let running = 0
  let onIdle: (() => void) | null = null

  const next = (): void => {
    const lengthBytes = sizes[count % sizes.length]!
    const client = clients[count % clients.length]!
    const place = isSequential ? Math.floor(count / clients.length) : Math.floor(Math.random() * places)
    count++
    running++
    const startedAtMs = performance.now()
    const payload = command === 'write' ? { bytes: bytes.subarray(0, lengthBytes) } : {}
    const request = { command, offsetBytes: place * largest, lengthBytes, ...payload }
    const ended: NbdDone = errno => {
      running--
      const nowMs = performance.now()
      if (errno !== null) fail(new Error(`${command}: errno ${errno}`))
      answeredAtMs.push(nowMs)
      latencyMs.push(nowMs - startedAtMs)
      if (nowMs < untilMs && count < countMax) next()
      else if (running === 0) onIdle?.()
    }
    const flush = { command: 'flush', offsetBytes: 0, lengthBytes: 0 } as const
    client.send(
      request,
      isFlushed ? (errno, bytes) => (errno ? ended(errno, bytes) : client.send(flush, ended)) : ended,
    )
  }

  return {
    answeredAtMs,
    latencyMs,
    async runFor(ms) {
      untilMs = performance.now() + ms
      const idle = new Promise<void>(resolve => {
        onIdle = resolve
      })
      for (let i = 0; i < depth && count < countMax; i++) next()
      await Promise.race([idle, lost])
    },
    stop() {
      untilMs = 0
    },
    close() {
      for (const client of clients) client.close()
    },
  }
}

/** A volume that was mapped a moment ago is there soon. */
async function connect(uri: string, onLost: (error: Error) => void): Promise<NbdClient> {
  const { pathname, searchParams } = new URL(uri)
  const volume = decodeURIComponent(pathname.slice(1))
  for (let triesLeft = 100; ; triesLeft--) {
    try {
      return await NbdClient.connect(searchParams.get('socket')!, volume, reason =>
        onLost(new Error(`${volume}: ${reason}`)),
      )
    } catch (error) {
      if (triesLeft === 0) throw error
      await sleep(100)
    }
  }
}
