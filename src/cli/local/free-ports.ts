import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { StorageError } from '../../base/errors.js'

/** Below the range that Linux takes for outgoing connections, so that a port stays free while its daemon is down. */
const portMin = 20_000
const portMax = 32_000
const triesMax = 2_000

/** `count` different loopback ports on which nothing listens now. */
export async function findFreePorts(count: number): Promise<number[]> {
  const found = new Set<number>()
  for (let tries = 0; found.size < count; tries++) {
    if (tries === triesMax)
      throw new StorageError('LIMIT_REACHED', { detail: `no ${count} free ports on 127.0.0.1`, portMin, portMax })
    const port = randomInt(portMin, portMax)
    if (!found.has(port) && (await isFree(port))) found.add(port)
  }
  return [...found]
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host: '127.0.0.1', port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
