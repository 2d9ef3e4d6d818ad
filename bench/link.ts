/** Frames per second over loopback between two processes: empty ping-pong, and writes at a depth. One JSON line each. */
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { tcpLink } from '../src/io/tcp-link.js'
import type { Endpoint } from '../src/model/objects.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../src/wire/data.js'

const workloads = [
  { name: 'ping-pong', depth: 1, bodyBytes: 0, frames: 20_000 },
  { name: 'write 4 KiB', depth: 1, bodyBytes: 4096, frames: 20_000 },
  { name: 'write 4 KiB', depth: 16, bodyBytes: 4096, frames: 100_000 },
  { name: 'write 4 KiB', depth: 64, bodyBytes: 4096, frames: 100_000 },
  { name: 'write 64 KiB', depth: 16, bodyBytes: 65_536, frames: 20_000 },
]

async function serve(): Promise<void> {
  const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => ({
    onMessage: frame => connection.send(makeReply(frame, 0)),
    onClose() {},
  }))
  process.send!(listener.endpoint)
}

function run(to: Endpoint, { name, depth, bodyBytes, frames }: (typeof workloads)[number]): Promise<void> {
  const body = bodyBytes > 0 ? [Buffer.alloc(bodyBytes, 7)] : []
  return new Promise(resolve => {
    let sent = 0
    let answered = 0
    const next = (): DataFrame => makeFrame({ opcode: opcodes.write, requestId: sent++, length: bodyBytes, body })
    const startMs = performance.now()
    const connection = tcpLink.connectData(to, {
      onMessage() {
        if (++answered === frames) {
          const seconds = (performance.now() - startMs) / 1000
          const framesPerSec = Math.round(frames / seconds)
          const mibPerSec = Math.round((frames * bodyBytes) / seconds / 2 ** 20)
          const latencyUsMean = Math.round((seconds * 1e6 * depth) / frames)
          console.log(JSON.stringify({ bench: 'link', name, depth, bodyBytes, framesPerSec, mibPerSec, latencyUsMean }))
          connection.close()
          resolve()
        } else if (sent < frames) connection.send(next())
      },
      onClose: reason => {
        throw new Error(reason)
      },
    })
    for (let i = 0; i < depth; i++) connection.send(next())
  })
}

if (process.argv[2] === 'serve') await serve()
else {
  const server = fork(fileURLToPath(import.meta.url), ['serve'])
  const endpoint = await new Promise<Endpoint>(resolve => server.once('message', at => resolve(at as Endpoint)))
  for (const workload of workloads) await run(endpoint, workload)
  server.kill()
}
