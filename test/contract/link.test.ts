import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { findFreePorts } from '../../src/cli/local/free-ports.js'
import { addon } from '../../src/io/addon.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import type { Endpoint } from '../../src/model/objects.js'
import type { Connection, Link } from '../../src/ports/link.js'
import type { ControlMessage } from '../../src/wire/control.js'
import { encodeControl } from '../../src/wire/control-parser.js'
import { type DataFrame, makeFrame, opcodes } from '../../src/wire/data.js'
import { SimWorld } from '../support/index.js'
import { linkContract } from './link.js'

async function until(predicate: () => boolean): Promise<void> {
  const endMs = Date.now() + 10_000
  while (!predicate()) {
    if (Date.now() > endMs) throw new Error(`not within 10 s: ${predicate}`)
    await sleep(2)
  }
}

/** The endpoint's local door has the name that it was given; by another one it is found by TCP alone. */
const byTcp = (to: Endpoint): Endpoint => ({ ...to, host: '127.1' })
const onlyTcp: Link = { ...tcpLink, connectData: (to, handlers) => tcpLink.connectData(byTcp(to), handlers) }

linkContract('tcp', () => ({ link: onlyTcp, until, pause: () => sleep(50) }))
linkContract('local door', () => ({ link: tcpLink, until, pause: () => sleep(50) }))
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

/** A data endpoint with who has come, and what they said. */
async function endpointAt(port: number) {
  const came: Connection<DataFrame>[] = []
  const heard: number[] = []
  const listener = await tcpLink.listenData({ host: '127.0.0.1', port }, connection => {
    came.push(connection)
    return { onMessage: frame => heard.push(frame.requestId), onClose() {} }
  })
  return { came, heard, listener }
}

/** A request from us; resolves when it has arrived. */
async function sayTo({ listener, heard }: Awaited<ReturnType<typeof endpointAt>>, host: string, requestId: number) {
  const endpoint = { ...listener.endpoint, host }
  const connection = tcpLink.connectData(endpoint, { onMessage() {}, onClose: reason => heard.push(Number(reason)) })
  connection.send(makeFrame({ opcode: opcodes.read, requestId }))
  await until(() => heard.length > 0)
  connection.close()
  return heard.pop()
}

t.test('a process of the same host comes in at the local door, one that knows another name of it by TCP', async t => {
  const [port] = await findFreePorts(1)
  const endpoint = await endpointAt(port!)
  t.equal(await sayTo(endpoint, '127.0.0.1', 1), 1)
  t.match(endpoint.came[0]!.remote, { host: 'this host', port: 0 })
  t.equal(await sayTo(endpoint, '127.1', 2), 2)
  t.match(endpoint.came[1]!.remote.host, /127\.0\.0\.1$/)
  const { listener } = endpoint
  await listener.close()
  const ended: (string | undefined)[] = []
  tcpLink.connectData(listener.endpoint, { onMessage() {}, onClose: (_, why) => ended.push(why) })
  await until(() => ended.length === 1)
  t.same(ended, ['refused'], 'both are closed')
  const next = await endpointAt(port!)
  t.equal(await sayTo(next, '127.0.0.1', 3), 3)
  t.equal(next.came[0]!.remote.host, 'this host', 'the name is free again')
  await next.listener.close()
})

const skip = process.geteuid!() === 0 ? false : 'only the superuser can be another user for a moment'
t.test('who took the name of a local door before is told nothing: all come by TCP', { skip }, async t => {
  const [port] = await findFreePorts(1)
  const name = `blockmesh-memory/127.0.0.1:${port}`
  const told: string[] = []
  const squatter = net.createServer(socket => {
    socket.on('error', () => {})
    socket.on('data', bytes => told.push(`${bytes.length} bytes`))
    socket.on('close', () => told.push('gone'))
  })
  process.seteuid!(65_534)
  try {
    squatter.listen({ fd: addon.localListen(name) })
  } finally {
    process.seteuid!(0)
  }
  const endpoint = await endpointAt(port!)
  t.notOk(endpoint.listener.hasLocalDoor)
  t.equal(await sayTo(endpoint, '127.0.0.1', 7), 7)
  t.equal(endpoint.came[0]!.remote.host, '127.0.0.1')
  await until(() => told.length > 0)
  t.same(told, ['gone'])
  squatter.close()
  await endpoint.listener.close()
})

t.test('an endpoint whose name is too long for a local door has none, and nobody finds another one for it', async t => {
  const long = 'x'.repeat(107)
  const fd = addon.localListen(long)
  t.ok(fd >= 0)
  for (const name of [`${long}:1`, long.slice(1)]) t.ok(addon.localConnect(name) < 0, name)
  t.ok(addon.localListen(`${long}:1`) < 0)
  const found = addon.localConnect(long)
  t.ok(found >= 0)
  for (const open of [fd, found]) addon.fdClose(open)
})
