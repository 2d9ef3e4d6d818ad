import { NbdClient, type NbdCommand } from '../../test/soak/nbd-client.js'

export interface LoadOptions {
  /** Requests under way at any time. */
  depth: number
  /** Taken in turn. */
  sizes: readonly number[]
  /** Offsets are drawn from this much of the volume. */
  rangeBytes: number
  command?: NbdCommand
}

/** A client that always has the same number of requests under way, and knows to the microsecond when each was answered. */
export interface NbdLoad {
  readonly answeredAtMs: number[]
  /** Resolves when the time is over, or `stop` was called, and everything has been answered. */
  runFor(ms: number): Promise<void>
  stop(): void
  close(): Promise<void>
}

/** `uri`: nbd+unix:///NAME?socket=PATH. */
export async function openLoad(uri: string, options: LoadOptions): Promise<NbdLoad> {
  const { depth, sizes, rangeBytes, command = 'write' } = options
  const { pathname, searchParams } = new URL(uri)
  const volume = decodeURIComponent(pathname.slice(1))
  const socketPath = searchParams.get('socket')!
  const client = await NbdClient.connect(socketPath, volume, reason => {
    throw new Error(`${volume}: ${reason}`)
  })
  const largest = Math.max(...sizes)
  const bytes = Buffer.alloc(largest, 0xa5)
  const answeredAtMs: number[] = []
  let untilMs = 0
  let count = 0
  let running = 0
  let onIdle: (() => void) | null = null

  const next = (): void => {
    const lengthBytes = sizes[count++ % sizes.length]!
    const offsetBytes = Math.floor(Math.random() * (rangeBytes / largest)) * largest
    running++
    const request = {
      command,
      offsetBytes,
      lengthBytes,
      ...(command === 'write' ? { bytes: bytes.subarray(0, lengthBytes) } : {}),
    }
    client.send(request, errno => {
      running--
      const nowMs = performance.now()
      if (errno !== null) throw new Error(`${volume}: errno ${errno}`)
      answeredAtMs.push(nowMs)
      if (nowMs < untilMs) next()
      else if (running === 0) onIdle?.()
    })
  }

  return {
    answeredAtMs,
    async runFor(ms) {
      untilMs = performance.now() + ms
      const idle = new Promise<void>(resolve => {
        onIdle = resolve
      })
      for (let i = 0; i < depth; i++) next()
      await idle
    },
    stop() {
      untilMs = 0
    },
    async close() {
      client.close()
    },
  }
}
