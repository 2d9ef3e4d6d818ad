import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { tcpLink } from '../../src/io/tcp-link.js'
import type { ControlMessage } from '../../src/wire/control.js'
import { encodeControl } from '../../src/wire/control-parser.js'
import { makeFrame, opcodes } from '../../src/wire/data.js'
import { SimWorld } from '../support/index.js'
import { linkContract } from './link.js'

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(2)
  }
}

linkContract('tcp', () => ({ link: tcpLink, until, pause: () => sleep(50) }))
linkContract('simulated', () => {
  const world = new SimWorld(5)
  return {
    link: world.portsOf('here').link,
    until: predicate => world.clock.runUntil(predicate),
    pause: () => world.clock.runFor(50),
  }
})

t.test('tcp: a stranger whose first control message is too large is turned away; later ones may be larger', async t => {
  const heard: ControlMessage[] = []
  const ended: string[] = []
  const listener = await tcpLink.listenControl({ host: '127.0.0.1', port: 0 }, () => ({
    onMessage: message => heard.push(message),
    onClose: reason => ended.push(reason),
  }))
  const say = (...texts: string[]) => {
    const socket = net.connect(listener.endpoint.port, '127.0.0.1')
    socket.on('error', () => {})
    for (const text of texts) socket.write(encodeControl({ kind: 'notice', name: 'n', params: text }))
    return socket
  }
  say('x'.repeat(2_000_000))
  await until(() => ended.length === 1)
  t.match(ended[0], /length/)
  t.same(heard, [])
  const polite = say('hello', 'x'.repeat(2_000_000))
  await until(() => heard.length === 2)
  polite.destroy()
  await listener.close()
})

t.test('tcp: a data connection that is reset ends with the reason, whether we read, write or wait', async t => {
  const ended: string[] = []
  const sockets: net.Socket[] = []
  const server = net.createServer(socket => {
    socket.on('error', () => {})
    sockets.push(socket)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const endpoint = { host: '127.0.0.1', port: (server.address() as net.AddressInfo).port }
  for (const says of [0, 1, 64]) {
    const connection = tcpLink.connectData(endpoint, { onMessage() {}, onClose: reason => ended.push(reason) })
    const body = [Buffer.alloc(1_000_000)]
    for (let i = 0; i < says; i++) connection.send(makeFrame({ opcode: opcodes.write, requestId: i, body }))
    await until(() => sockets.length === 1)
    sockets.pop()!.resetAndDestroy()
    await until(() => ended.length === 1)
    t.match(ended.pop(), /ECONNRESET|EPIPE/)
    t.equal(connection.queuedBytes, 0)
  }
  server.close()
})
