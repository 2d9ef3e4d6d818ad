import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import t from 'tap'
import { type ByteStream, takeSocket } from '../../src/io/byte-stream.js'

t.test('a stream that rests between reads, whatever it reads into then, gets every byte in its place', async t => {
  const server = net.createServer({ pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [net.Socket]
  const got: Buffer[] = []
  let gotBytes = 0
  let arrived = () => {}
  const stream: ByteStream = takeSocket(socket, 0, {
    onBytes(bytes) {
      got.push(Buffer.from(bytes))
      gotBytes += bytes.length
      arrived()
    },
    onEnd: () => {},
    onBroken: reason => t.fail(reason),
    onProgress: () => {},
  })!
  stream.resume()
  const untilBytes = async (want: number) => {
    while (gotBytes < want)
      await new Promise<void>(resolve => {
        arrived = resolve
      })
  }
  // From the smallest memory to the largest, to rest, and up again.
  const parts = [100, 60_000, 700_000, 5, 20_000, 700_000, 1].map((length, at) => Buffer.alloc(length, at + 1))
  let sentBytes = 0
  for (const part of parts) {
    client.write(part)
    sentBytes += part.length
    await untilBytes(sentBytes)
    stream.rest()
    stream.rest()
  }
  t.ok(Buffer.concat(got).equals(Buffer.concat(parts)))
  stream.destroy()
  client.destroy()
  server.close()
})
